import { afterEach, describe, expect, it } from "vitest";
import { NbdHost, type NbdHostOptions } from "../support/nbd-host.ts";
import { infoRequest, optionBytes, type RawNbd, requestBytes } from "../support/raw-nbd.ts";
import { SeededRandom } from "../support/seeded-random.ts";

const MIB = 1024 * 1024;
const [READ, WRITE, DISC, FLUSH, TRIM, ZEROES] = [0, 1, 2, 3, 4, 6];

describe.each(["io_uring", "threads"] as const)("NbdServer and hostile clients, over %s", (ring) => {
  let host: NbdHost;
  const open = (options: Partial<NbdHostOptions> = {}): NbdHost => {
    host = new NbdHost({ ring, ...options });
    return host;
  };
  afterEach(() => host.stop());

  const works = async (): Promise<void> => {
    const client = await host.client();
    expect((await client.call(WRITE, { length: 512 }, Buffer.alloc(512, 3))).errno).toBe(0);
    expect((await client.call(READ, { length: 512 })).data.equals(Buffer.alloc(512, 3))).toBe(true);
    client.destroy();
  };

  it("serves others while handshakes hang", async () => {
    open();
    const hanging: RawNbd[] = [];
    for (let i = 0; i < 200; i++) {
      const client = await host.connect();
      if (i % 2 === 0) client.send(Uint8Array.of(0, 0, 0, 3), optionBytes(7, infoRequest("disk")).subarray(0, i % 20));
      hanging.push(client);
      if (i % 20 === 0) await works();
    }
    await works();
    for (const client of hanging) client.destroy();
    await host.isWhole();
  });

  it("refuses a client when all places are taken by working ones, and takes the next when one leaves", async () => {
    open({ arenaBytes: 8 * MIB });
    const clients: RawNbd[] = [];
    for (;;) {
      const client = await host.connect();
      const settled = await client.negotiate("disk").then(
        () => true,
        () => false,
      );
      if (!settled) break;
      clients.push(client);
    }
    expect(clients.length).toBe(6);
    for (const client of clients) expect((await client.call(READ, { length: 512 })).errno).toBe(0);
    clients[2]?.destroy();
    await host.until(() => host.server.connections === 5, "a place is free");
    await works();
  });

  it("keeps its memory when clients flood it and never read", async () => {
    open({ arenaBytes: 32 * MIB });
    const floods: RawNbd[] = [];
    const many = Buffer.concat(
      Array.from({ length: 2000 }, (_, i) => requestBytes(READ, { cookie: BigInt(i), length: 65536 })),
    );
    const errors = Buffer.concat(Array.from({ length: 20_000 }, () => requestBytes(READ, { length: 1 })));
    for (let i = 0; i < 4; i++) {
      const client = await host.client();
      client.socket.pause();
      client.send(i % 2 === 0 ? many : errors);
      floods.push(client);
    }
    for (let i = 0; i < 10; i++) await works();
    expect(host.server.usage.requests).toBeLessThanOrEqual(1024);
    for (const client of floods) client.destroy();
    await host.isWhole();
    await works();
  });

  it("drops 4 GiB lengths without taking them in", async () => {
    open();
    const client = await host.client();
    client.send(requestBytes(WRITE, { length: 0xffff_ffff }), Buffer.alloc(8 * MIB));
    expect((await client.reply()).errno).toBe(28);
    expect(host.server.usage.requests).toBe(0);
    expect(host.server.usage.freePages).toBe(host.server.usage.pages);
    await works();
    client.destroy();
    await host.isWhole();
  });

  it("ends a connection whose option has 4 GiB", async () => {
    open();
    const client = await host.connect();
    client.send(Uint8Array.of(0, 0, 0, 3), optionBytes(7, Buffer.alloc(0), 0xffff_fff0));
    await client.readToEnd();
    await works();
  });

  it("is not held up by a client that goes through options for ever", async () => {
    open();
    const client = await host.connect();
    client.socket.pause();
    client.send(Uint8Array.of(0, 0, 0, 3), ...Array.from({ length: 20_000 }, () => optionBytes(3)));
    for (let i = 0; i < 5; i++) await works();
    client.destroy();
    await host.isWhole();
  });

  it("survives 2000 mutated sessions, and loses nothing", { timeout: 120_000 }, async () => {
    open({ arenaBytes: 16 * MIB });
    const random = new SeededRandom(20261121);
    for (let round = 0; round < 250; round++) {
      const clients = await Promise.all(Array.from({ length: 8 }, () => host.connect()));
      for (const client of clients) {
        const session = mutate(random, makeSession(random));
        for (let at = 0; at < session.length; ) {
          const piece = 1 + random.below(random.below(3) === 0 ? 30 : 100_000);
          client.send(session.subarray(at, at + piece));
          at += piece;
        }
        if (random.below(3) === 0) client.destroy();
        else client.socket.end();
      }
      if (round % 50 === 0) await works();
      for (const client of clients) {
        if (random.below(2) === 0) client.destroy();
        else await client.readToEnd();
      }
    }
    await host.isWhole();
    await works();
  });
});

/** A session that makes sense. */
function makeSession(random: SeededRandom): Buffer {
  const parts: Buffer[] = [Buffer.from([0, 0, 0, random.below(4)])];
  const options = random.below(3);
  for (let i = 0; i < options; i++) {
    const option = [3, 6, 8, 10, 5, 77][random.below(6)] ?? 3;
    parts.push(optionBytes(option, option === 6 ? infoRequest("disk", [3]) : random.bytes(random.below(40))));
  }
  parts.push(random.below(2) === 0 ? optionBytes(7, infoRequest("disk")) : optionBytes(1, Buffer.from("disk")));
  const requests = random.below(12);
  for (let i = 0; i < requests; i++) {
    const command = [READ, READ, WRITE, WRITE, FLUSH, TRIM, ZEROES, DISC][random.below(8)] ?? 0;
    const length =
      command === FLUSH || command === DISC ? 0 : 512 * (1 + random.below(random.below(4) === 0 ? 600 : 16));
    parts.push(requestBytes(command, { offset: BigInt(512 * random.below(2000)), length, flags: random.below(2) }));
    if (command === WRITE) parts.push(Buffer.alloc(length, 0x25));
  }
  return Buffer.concat(parts);
}

/** The same with a few bytes changed, gone, doubled or cut off. */
function mutate(random: SeededRandom, session: Buffer): Buffer {
  let bytes = session;
  for (let i = random.below(4); i > 0; i--) {
    // Early bytes matter more than payload.
    const at = random.below(random.below(2) === 0 ? Math.min(200, bytes.length) : bytes.length);
    const kind = random.below(5);
    if (kind === 0) bytes.writeUInt8(random.below(256), at);
    else if (kind === 1) bytes.writeUInt8(bytes.readUInt8(at) ^ (1 << random.below(8)), at);
    else if (kind === 2) bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1 + random.below(8))]);
    else if (kind === 3)
      bytes = Buffer.concat([bytes.subarray(0, at), random.bytes(random.below(20)), bytes.subarray(at)]);
    else bytes = bytes.subarray(0, at + 1);
    if (bytes.length === 0) return bytes;
  }
  return bytes;
}
