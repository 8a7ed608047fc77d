import { once } from "node:events";
import { afterEach, describe, expect, it } from "vitest";
import { RequestOp } from "../../src/blockdev/front-end.ts";
import { NbdHost, type NbdHostOptions } from "../support/nbd-host.ts";
import { infoRequest, optionBytes, requestBytes } from "../support/raw-nbd.ts";
import { SeededRandom } from "../support/seeded-random.ts";

const KIB = 1024;
const MIB = 1024 * KIB;
const [READ, WRITE, DISC, FLUSH, TRIM, CACHE, ZEROES, STATUS] = [0, 1, 2, 3, 4, 5, 6, 7];
const [EPERM, EIO, EINVAL, ENOSPC, ESHUTDOWN] = [1, 5, 22, 28, 108];
const [FUA, NO_HOLE, DF] = [1, 2, 4];

const noise = (bytes: number, seed = 1): Buffer => {
  const random = new SeededRandom(seed);
  const words = Uint32Array.from({ length: Math.ceil(bytes / 4) }, () => Math.floor(random.next() * 2 ** 32));
  return Buffer.from(words.buffer, 0, bytes);
};

describe.each([
  ["io_uring", "unix"],
  ["io_uring", "tcp"],
  ["threads", "unix"],
] as const)("NbdServer over %s and %s", (ring, transport) => {
  let host: NbdHost;
  const open = (options: Partial<NbdHostOptions> = {}): NbdHost => {
    host = new NbdHost({ ring, transport, ...options });
    return host;
  };
  afterEach(() => host.stop());

  it("reads what was written, under the cookie of the request", async () => {
    const client = await open().client();
    const data = noise(8192);
    const cookie = 0xfedcba9876543210n;
    const written = await client.call(WRITE, { cookie, offset: 4096n, length: 8192 }, data);
    expect(written).toMatchObject({ kind: "simple", cookie, errno: 0 });
    const read = await client.call(READ, { cookie: 7n, offset: 4608n, length: 4096 });
    expect(read).toMatchObject({ kind: "simple", cookie: 7n, errno: 0 });
    expect(read.data.equals(data.subarray(512, 4608))).toBe(true);
  });

  it.each([512, 64 * KIB, 64 * KIB + 512, 200 * KIB, 1 * MIB, 5 * MIB, 32 * MIB])(
    "carries %i bytes",
    async (length) => {
      const client = await open({ sizeBytes: 33 * MIB }).client();
      const data = noise(length);
      expect((await client.call(WRITE, { offset: 512n, length }, data)).errno).toBe(0);
      const { data: back } = await client.call(READ, { offset: 512n, length });
      expect(back.equals(data)).toBe(true);
      expect(host.sink.data.subarray(512, 512 + length).equals(data)).toBe(true);
    },
  );

  it("takes requests that arrive in pieces, and many that arrive at once", async () => {
    const client = await open().client();
    const data = noise(64 * KIB);
    const requests: Buffer[] = [];
    for (let i = 0; i < 60; i++) {
      const length = [512, 4096, 1536, 65536][i % 4] ?? 0;
      requests.push(
        requestBytes(WRITE, { cookie: BigInt(i), offset: BigInt(i * 65536), length }),
        data.subarray(0, length),
      );
      requests.push(requestBytes(READ, { cookie: BigInt(1000 + i), offset: BigInt(15 * MIB), length: 512 }));
    }
    const all = Buffer.concat(requests);
    const random = new SeededRandom(5);
    for (let at = 0; at < all.length; ) {
      const piece = random.below(4) === 0 ? 1 + random.below(40) : random.below(200_000);
      client.send(all.subarray(at, at + piece));
      at += piece;
      if (random.below(2) === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    const cookies = new Set<bigint>();
    for (let i = 0; i < 120; i++) {
      const header = await client.read(16);
      expect(header.readUInt32BE(0)).toBe(0x67446698);
      expect(header.readUInt32BE(4)).toBe(0);
      const cookie = header.readBigUInt64BE(8);
      cookies.add(cookie);
      if (cookie >= 1000n) await client.read(512);
    }
    expect(cookies.size).toBe(120);
    for (let i = 0; i < 60; i++) {
      const length = [512, 4096, 1536, 65536][i % 4] ?? 0;
      expect(host.sink.data.subarray(i * 65536, i * 65536 + length).equals(data.subarray(0, length))).toBe(true);
    }
  });

  it("gathers replies of reads, small and large, each with its own data", async () => {
    const client = await open().client();
    noise(16 * MIB).copy(host.sink.data);
    const lengths = Array.from({ length: 100 }, (_, i) => [512, 4096, 16384, 16896, 131072, 1024][i % 6] ?? 0);
    host.sink.holding = true;
    client.send(
      ...lengths.map((length, i) => requestBytes(READ, { cookie: BigInt(i), offset: BigInt(i * 131072), length })),
    );
    await host.until(() => host.sink.held === 100, "all reads are under way");
    host.letGo();
    for (let i = 0; i < 100; i++) {
      const header = await client.read(16);
      const cookie = Number(header.readBigUInt64BE(8));
      const data = await client.read(lengths[cookie] ?? 0);
      expect(data.equals(host.sink.data.subarray(cookie * 131072, cookie * 131072 + data.length))).toBe(true);
    }
  });

  it("gathers more replies than go out at once, and keeps to its own memory", async () => {
    const client = await open().client();
    const neighbour = await host.client();
    noise(16 * MIB).copy(host.sink.data);
    const late = requestBytes(READ ?? 0, { cookie: 77n, offset: 512n, length: 512 });
    neighbour.send(late.subarray(0, 14));
    expect((await client.call(READ ?? 0, { length: 512 })).errno).toBe(0);
    host.sink.holding = true;
    const count = 60;
    client.send(
      ...Array.from({ length: count }, (_, i) =>
        requestBytes(READ ?? 0, { cookie: BigInt(i), offset: BigInt(i * 16384), length: 16384 }),
      ),
    );
    await host.until(() => host.sink.held === count, "all reads are under way");
    host.letGo();
    for (let i = 0; i < count; i++) {
      const { cookie, data } = await client.reply(16384);
      const at = Number(cookie) * 16384;
      expect(data.equals(host.sink.data.subarray(at, at + 16384))).toBe(true);
    }
    neighbour.send(late.subarray(14));
    const reply = await neighbour.reply(512);
    expect(reply.cookie).toBe(77n);
    expect(reply.data.equals(host.sink.data.subarray(512, 1024))).toBe(true);
  });

  it("passes on flushes, trims, zeroes and their flags", async () => {
    const client = await open().client();
    host.sink.logging = true;
    host.sink.data.fill(1);
    for (const [command, fields] of [
      [FLUSH, {}],
      [WRITE, { flags: FUA, length: 512 }],
      [TRIM, { offset: 4096n, length: 8192 }],
      [ZEROES, { offset: 16384n, length: 512, flags: FUA | NO_HOLE }],
      [ZEROES, { length: 16 * MIB }],
      [READ, { flags: FUA, length: 512 }],
    ] as const) {
      const payload = command === WRITE ? Buffer.alloc(512, 2) : Buffer.alloc(0);
      expect((await client.call(command ?? 0, fields, payload)).errno).toBe(0);
    }
    expect(host.sink.log.map(({ op, at, bytes, flags }) => [op, at, bytes, flags])).toEqual([
      [RequestOp.flush, 0, 0, 0],
      [RequestOp.write, 0, 512, 1],
      [RequestOp.discard, 4096, 8192, 0],
      [RequestOp.zero, 16384, 512, 3],
      [RequestOp.zero, 0, 16 * MIB, 0],
      [RequestOp.read, 0, 512, 1],
    ]);
  });

  it.each<readonly [string, number, { offset?: bigint; length?: number; flags?: number }, number]>([
    ["read past the end", READ ?? 0, { offset: BigInt(16 * MIB), length: 512 }, EINVAL ?? 0],
    ["read across the end", READ ?? 0, { offset: BigInt(16 * MIB - 512), length: 1024 }, EINVAL ?? 0],
    ["write past the end", WRITE ?? 0, { offset: BigInt(16 * MIB), length: 512 }, ENOSPC ?? 0],
    ["write of 64 bits past the end", WRITE ?? 0, { offset: 0xffff_ffff_ffff_fe00n, length: 1024 }, ENOSPC ?? 0],
    ["zeroes past the end", ZEROES ?? 0, { offset: BigInt(16 * MIB), length: 512 }, ENOSPC ?? 0],
    ["trim past the end", TRIM ?? 0, { offset: BigInt(16 * MIB), length: 512 }, EINVAL ?? 0],
    ["unaligned offset", READ ?? 0, { offset: 3n, length: 512 }, EINVAL ?? 0],
    ["unaligned length", WRITE ?? 0, { offset: 0n, length: 100 }, EINVAL ?? 0],
    ["read of nothing", READ ?? 0, { length: 0 }, EINVAL ?? 0],
    ["write of nothing", WRITE ?? 0, { length: 0 }, EINVAL ?? 0],
    ["unknown flag", READ ?? 0, { length: 512, flags: 0x4000 }, EINVAL ?? 0],
    ["DF without structured replies", READ ?? 0, { length: 512, flags: DF ?? 0 }, EINVAL ?? 0],
    ["CACHE", CACHE ?? 0, { length: 512 }, EINVAL ?? 0],
    ["BLOCK_STATUS", STATUS ?? 0, { length: 512 }, EINVAL ?? 0],
    ["unknown command", 99, {}, EINVAL ?? 0],
    ["read of 33 MiB", READ ?? 0, { length: 33 * MIB }, EINVAL ?? 0],
    ["read of 4 GiB", READ ?? 0, { length: 0xffff_fe00 }, EINVAL ?? 0],
  ])("%s is refused, and the connection goes on", async (_, command, fields, errno) => {
    const client = await open().client();
    host.sink.logging = true;
    const payload = command === WRITE ? Buffer.alloc(fields.length ?? 0, 0x25) : Buffer.alloc(0);
    const reply = await client.call(command, { cookie: 9n, ...fields }, payload);
    expect(reply).toMatchObject({ kind: "simple", cookie: 9n, errno });
    expect(host.sink.log).toEqual([]);
    expect((await client.call(READ ?? 0, { length: 512 })).errno).toBe(0);
  });

  it("drops the payload of a refused write, however long", async () => {
    const client = await open({ sizeBytes: 34 * MIB }).client();
    const payload = Buffer.alloc(33 * MIB, requestBytes(WRITE, { length: 512 }));
    expect((await client.call(WRITE, { length: 33 * MIB }, payload)).errno).toBe(EINVAL);
    expect(
      (await client.call(WRITE, { offset: BigInt(1 << 30), length: 100 * KIB }, payload.subarray(0, 100 * KIB))).errno,
    ).toBe(ENOSPC);
    expect((await client.call(READ, { length: 512 })).data.equals(Buffer.alloc(512))).toBe(true);
  });

  it("refuses writes to a read-only export with EPERM", async () => {
    const client = await open({ readOnly: true }).client();
    for (const command of [WRITE, TRIM, ZEROES]) {
      const payload = command === WRITE ? Buffer.alloc(4096, 1) : Buffer.alloc(0);
      expect((await client.call(command ?? 0, { length: 4096 }, payload)).errno).toBe(EPERM);
    }
    expect((await client.call(READ, { length: 4096 })).errno).toBe(0);
    expect(host.sink.data.every((byte) => byte === 0)).toBe(true);
  });

  it.each([
    [5, EIO],
    [28, ENOSPC],
    [30, EPERM],
    [22, EINVAL],
    [108, ESHUTDOWN],
    [122, EIO],
  ])("tells errno %i of the array as %i", async (errno, wire) => {
    const client = await open().client();
    host.sink.errno = errno;
    expect((await client.call(WRITE, { length: 512 }, Buffer.alloc(512))).errno).toBe(wire);
    expect((await client.call(READ, { length: 512 })).errno).toBe(wire);
    host.sink.errno = 0;
    expect((await client.call(READ, { length: 512 })).errno).toBe(0);
  });

  it("answers in chunks once structured replies are agreed on", async () => {
    const client = await open().client({ structured: true });
    const data = noise(128 * KIB);
    expect(await client.call(WRITE, { length: data.length }, data)).toMatchObject({ kind: "simple", errno: 0 });
    for (const length of [512, 4096, 128 * KIB]) {
      const read = await client.call(READ, { cookie: 5n, offset: 0n, length, flags: DF ?? 0 });
      expect(read).toMatchObject({ kind: "data", cookie: 5n, offset: 0n, flags: 1 });
      expect(read.data.equals(data.subarray(0, length))).toBe(true);
    }
    const far = await client.call(READ, { offset: BigInt(8 * MIB), length: 512 });
    expect(far.offset).toBe(BigInt(8 * MIB));
    expect(await client.call(READ, { length: 100 })).toMatchObject({ kind: "error", errno: EINVAL, flags: 1 });
    host.sink.errno = 5;
    expect(await client.call(READ, { length: 512 })).toMatchObject({ kind: "error", errno: EIO });
    host.sink.errno = 0;
    client.send(...[1n, 2n, 3n].map((cookie) => requestBytes(READ, { cookie, offset: cookie * 4096n, length: 4096 })));
    for (let i = 0; i < 3; i++) {
      const { cookie, offset, data: part } = await client.reply();
      expect(offset).toBe(cookie * 4096n);
      expect(part.equals(data.subarray(Number(offset), Number(offset) + 4096))).toBe(true);
    }
  });

  it("answers what is outstanding after DISC, then closes", async () => {
    const client = await open().client();
    host.sink.holding = true;
    client.send(
      requestBytes(READ, { cookie: 1n, length: 512 }),
      requestBytes(FLUSH, { cookie: 2n }),
      requestBytes(DISC ?? 0),
    );
    await host.until(() => host.sink.held === 2, "both are under way");
    host.letGo();
    const rest = await client.readToEnd();
    expect(rest.length).toBe(16 + 512 + 16);
    client.destroy();
    await host.isWhole();
  });

  it("answers a client that has closed its sending side", async () => {
    const client = await open().client();
    host.sink.holding = true;
    client.socket.end(requestBytes(READ, { length: 4096 }));
    await host.until(() => host.sink.held === 1, "the read is under way");
    host.letGo();
    expect((await client.readToEnd()).length).toBe(16 + 4096);
  });

  it("answers it also for what the array had no room for yet", async () => {
    const client = await open().client();
    host.sink.capacity = 2;
    host.sink.holding = true;
    client.socket.end(
      Buffer.concat(Array.from({ length: 10 }, () => requestBytes(READ ?? 0, { offset: 512n, length: 512 }))),
    );
    await host.until(() => host.sink.held === 2 && host.server.usage.requests === 10, "all have come in");
    host.letGo();
    const all = await client.readToEnd();
    expect(all.length).toBe(10 * (16 + 512));
    for (let i = 0; i < 10; i++) expect(all.readUInt32BE(i * 528 + 4)).toBe(0);
  });

  it("lets reads pass the writes that the array has no room for", async () => {
    const client = await open().client();
    host.sink.fullOfWrites = true;
    client.send(requestBytes(WRITE ?? 0, { cookie: 1n, offset: 512n, length: 512 }), noise(512));
    expect(await client.call(READ, { cookie: 2n, length: 512 })).toMatchObject({ cookie: 2n, errno: 0 });
    host.sink.fullOfWrites = false;
    // Room is noticed when something is answered.
    client.send(requestBytes(FLUSH ?? 0, { cookie: 3n }));
    const replies = [await client.reply(), await client.reply()];
    expect(replies.map(({ cookie, errno }) => [cookie, errno])).toEqual(
      expect.arrayContaining([
        [1n, 0],
        [3n, 0],
      ]),
    );
  });

  it("closes only the connection with a wrong magic", async () => {
    const bad = await open().client();
    const good = await host.client();
    bad.send(requestBytes(READ, { length: 512, magic: 0x25609514 }));
    await bad.readToEnd();
    expect((await good.call(READ, { length: 512 })).errno).toBe(0);
  });

  it("lists, refuses a wrong name, then takes the right one, over the wire", async () => {
    const client = await open({ exportName: "büro" }).connect();
    await client.read(18);
    client.send(
      Uint8Array.of(0, 0, 0, 1),
      optionBytes(3),
      optionBytes(7, infoRequest("x")),
      optionBytes(77, Buffer.alloc(65536)),
    );
    const seen: (readonly [number, number])[] = [];
    for (let i = 0; i < 4; i++) {
      const { option, type } = await client.optionReply();
      seen.push([option, type]);
    }
    expect(seen).toEqual([
      [3, 2],
      [3, 1],
      [7, 0x80000006],
      [77, 0x80000001],
    ]);
    client.send(optionBytes(1, Buffer.from("büro")));
    const answer = await client.read(134);
    expect(answer.readBigUInt64BE(0)).toBe(BigInt(16 * MIB));
    expect(answer.subarray(10).equals(Buffer.alloc(124))).toBe(true);
    expect((await client.call(READ, { length: 512 })).errno).toBe(0);
  });

  it("waits for room in the array's table, and keeps the order of the queue", async () => {
    const client = await open().client();
    host.sink.capacity = 3;
    host.sink.logging = true;
    const count = 50;
    for (let i = 0; i < count; i++) {
      client.send(requestBytes(READ, { cookie: BigInt(i), offset: BigInt(i * 512), length: 512 }));
    }
    for (let i = 0; i < count; i++) expect((await client.reply(512)).errno).toBe(0);
    expect(host.sink.mostHeld).toBe(3);
    expect(host.sink.log.map(({ at }) => at)).toEqual(Array.from({ length: count }, (_, i) => i * 512));
  });

  it("serves more than its buffers hold", async () => {
    const client = await open({ arenaBytes: 5 * MIB, sizeBytes: 4 * MIB }).client();
    noise(4 * MIB).copy(host.sink.data);
    const count = 200;
    client.send(
      ...Array.from({ length: count }, (_, i) =>
        requestBytes(READ, { cookie: BigInt(i), offset: BigInt((i % 31) * 128 * KIB), length: 128 * KIB }),
      ),
    );
    for (let i = 0; i < count; i++) {
      const { errno, cookie, data } = await client.reply(128 * KIB);
      const at = (Number(cookie) % 31) * 128 * KIB;
      expect(errno).toBe(0);
      expect(data.equals(host.sink.data.subarray(at, at + data.length))).toBe(true);
    }
  });

  it("tells a smaller greatest payload where there is less memory", async () => {
    const client = await open({ arenaBytes: 5 * MIB, sizeBytes: 4 * MIB }).connect();
    await client.read(18);
    client.send(Uint8Array.of(0, 0, 0, 3), optionBytes(6, infoRequest("disk")));
    await client.optionReply();
    const { data } = await client.optionReply();
    expect(data.readUInt32BE(10)).toBe(4 * MIB);
  });

  it("does not let one connection wait for another that does not read", async () => {
    const deaf = await open({ arenaBytes: 24 * MIB }).client();
    deaf.socket.pause();
    for (let i = 0; i < 64; i++) deaf.send(requestBytes(READ, { length: MIB }));
    const quick = await host.client();
    for (let i = 0; i < 20; i++) expect((await quick.call(READ, { length: MIB })).errno).toBe(0);
    deaf.destroy();
    quick.destroy();
    await host.isWhole();
  });

  it("serves a client although four others fetch nothing of much that they asked for, and then serves those", async () => {
    open();
    const { data } = host.sink;
    for (let at = 0; at < data.length; at += 4096) data.writeUInt32BE(at, at);
    const places = data.length / MIB;
    const asked = Array.from({ length: 48 }, (_, i) => i);
    const bytes = asked.map((i) =>
      requestBytes(READ, { cookie: BigInt(i), offset: BigInt((i % places) * MIB), length: MIB }),
    );
    const deaf = await Promise.all([1, 2, 3, 4].map(() => host.client()));
    for (const client of deaf) {
      client.socket.pause();
      client.send(...bytes);
    }
    // A quarter is kept for members that hang.
    await host.until(() => host.server.usage.freePages < host.server.usage.pages / 4 + 300, "nothing is left");
    const quick = await host.client();
    for (let i = 0; i < 20; i++) expect((await quick.call(READ, { length: MIB })).errno).toBe(0);
    for (const client of deaf) {
      client.socket.resume();
      const answered = new Set<bigint>();
      for (const _ of asked) {
        const { cookie, errno, data: read } = await client.reply(MIB);
        const at = (Number(cookie) % places) * MIB;
        expect([errno, read.readUInt32BE(0), read.readUInt32BE(MIB - 4096)]).toEqual([0, at, at + MIB - 4096]);
        answered.add(cookie);
      }
      expect(answered.size).toBe(asked.length);
      client.destroy();
    }
    quick.destroy();
    await host.isWhole();
  });

  it("loses nothing of clients that die in the middle", async () => {
    open();
    const data = Buffer.alloc(MIB, 7);
    for (const bytes of [10, 28, 100, 28 + 70_000, 28 + MIB - 1]) {
      const client = await host.client();
      client.send(Buffer.concat([requestBytes(WRITE, { length: MIB }), data]).subarray(0, bytes));
      await host.until(() => host.server.connections === 1, "it is there");
      client.socket.end();
      await host.isWhole();
    }
    expect(host.sink.data.every((byte) => byte === 0)).toBe(true);

    host.sink.holding = true;
    host.sink.logging = true;
    const client = await host.client();
    client.send(requestBytes(READ, { length: MIB }), requestBytes(WRITE, { length: MIB }), data, requestBytes(FLUSH));
    await host.until(() => host.sink.held === 3, "they are under way");
    if (transport === "tcp") client.socket.resetAndDestroy();
    else client.destroy();
    const other = await host.client();
    other.send(requestBytes(READ, { length: 512 }));
    await host.until(() => host.sink.log.length === 4, "another client is served");
    host.letGo();
    expect((await other.reply(512)).errno).toBe(0);
    other.destroy();
    await host.isWhole();
  });

  it("gives up the writes of a client that is gone, and those it did not hand on yet", async () => {
    open();
    host.sink.holding = true;
    host.sink.capacity = 2;
    const data = Buffer.alloc(4096, 7);
    for (const end of ["close", "hang up", "DISC of a stranger"] as const) {
      const client = await host.client();
      client.send(
        requestBytes(WRITE, { length: 4096 }),
        data,
        requestBytes(ZEROES, { offset: 8192n, length: 4096 }),
        requestBytes(WRITE, { offset: 4096n, length: 4096 }),
        data,
      );
      await host.until(() => host.server.usage.requests === 3, "all have come");
      expect(host.sink.held).toBe(2);
      if (end === "close") client.destroy();
      else if (end === "hang up") client.socket.end();
      else client.send(requestBytes(READ, { magic: 0 }));
      await host.isWhole();
      expect(host.sink.held).toBe(0);
      client.destroy();
    }
    host.letGo();
    expect(host.sink.data.every((byte) => byte === 0)).toBe(true);
  });

  it("notices that a client is gone although it takes no more of it in", async () => {
    const client = await open().client();
    host.sink.holding = true;
    const one = Buffer.concat([requestBytes(WRITE, { length: 512 }), Buffer.alloc(512, 7)]);
    client.send(...Array.from({ length: 300 }, () => one));
    await host.until(() => host.server.usage.requests === 256, "there is no room for more");
    client.destroy();
    await host.isWhole();
    expect(host.sink.data.every((byte) => byte === 0)).toBe(true);
  });

  it("puts the payload of a WRITE together that comes in parts while it waits for room", async () => {
    const client = await open().client({ structured: true });
    const payload = Buffer.alloc(256 * 1024);
    for (let at = 0; at < payload.length; at += 4) payload.writeUInt32BE(at, at);
    for (const part of [0, 512, 30_000, 100_000]) {
      host.sink.holding = true;
      host.sink.data.fill(0);
      client.send(...Array.from({ length: 256 }, () => requestBytes(READ, { length: 512 })));
      await host.until(() => host.sink.held === 128, "the array is full");
      client.send(requestBytes(WRITE, { cookie: 2n, length: payload.length }), payload.subarray(0, part));
      // What is in the socket is seen in the next turns, and more is waited for.
      let turns = 0;
      await host.until(() => ++turns > 200, "turns pass");
      host.letGo();
      client.send(payload.subarray(part, part + 1000));
      client.send(payload.subarray(part + 1000));
      for (let i = 0; i < 257; i++) expect((await client.reply()).errno).toBe(0);
      expect(host.sink.data.subarray(0, payload.length).equals(payload), `after ${part} bytes`).toBe(true);
    }
  });

  it("answers reads but no writes of a client that closes its sending side while it is stalled", async () => {
    const client = await open().client();
    host.sink.holding = true;
    client.send(...Array.from({ length: 256 }, () => requestBytes(READ, { length: 512 })));
    await host.until(() => host.sink.held === 128, "the array is full");
    const late = Buffer.concat([requestBytes(WRITE, { cookie: 2n, length: 512 }), Buffer.alloc(512, 7)]);
    client.socket.end(Buffer.concat([late, requestBytes(READ, { cookie: 3n, length: 512 })]));
    await once(client.socket, "finish");
    // What is in the socket is seen in the next turns.
    let turns = 0;
    await host.until(() => ++turns > 200, "turns pass");
    host.letGo();
    const errnos: Record<string, number> = {};
    for (let i = 0; i < 258; i++) {
      const { cookie, errno } = await client.reply(512);
      errnos[`${cookie}`] = errno;
    }
    expect(errnos).toEqual({ 1: 0, 2: ESHUTDOWN, 3: 0 });
    await client.readToEnd();
    expect(host.sink.data.every((byte) => byte === 0)).toBe(true);
  });

  it("drains: outstanding requests are answered, new ones refused, then it closes", async () => {
    const client = await open().client();
    const halfway = await host.connect();
    await halfway.read(18);
    host.sink.holding = true;
    client.send(requestBytes(READ, { cookie: 1n, length: 512 }));
    await host.until(() => host.sink.held === 1, "the read is under way");
    host.startDraining();
    client.send(requestBytes(READ, { cookie: 2n, length: 512 }));
    const refused = await client.reply(512);
    expect(refused).toMatchObject({ cookie: 2n, errno: ESHUTDOWN });
    expect(host.drained).toBe(false);
    host.letGo();
    expect(await client.reply(512)).toMatchObject({ cookie: 1n, errno: 0 });
    await client.readToEnd();
    await halfway.readToEnd();
    await host.until(() => host.drained, "it is drained");
    await expect(host.connect()).rejects.toThrow();
    await host.isWhole();
  });

  it("drains although a client does not read", async () => {
    const deaf = await open().client();
    deaf.socket.pause();
    for (let i = 0; i < 16; i++) deaf.send(requestBytes(READ, { length: MIB }));
    await host.until(() => host.server.usage.freePages < host.server.usage.pages, "replies wait");
    host.startDraining();
    await host.until(() => host.drained, "it is drained");
    await host.isWhole();
  });
});
