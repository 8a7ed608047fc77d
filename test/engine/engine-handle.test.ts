import { spawn } from "node:child_process";
import { readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { sector, sectorRange, slotNumber } from "../../src/base/units.ts";
import { type EngineHandle, startEngine } from "../../src/engine/engine-handle.ts";
import type { EngineConfig, EngineNotice } from "../../src/engine/engine-protocol.ts";
import { SharedBlock } from "../../src/engine/shared-block.ts";
import { SeededRandom } from "../support/seeded-random.ts";
import { tempDir } from "../support/temp-dir.ts";

const MIB = 1024 * 1024;
const DATA_AT = 2048;
const SIZE = (32 * MIB) / 512;
const CHUNK_SECTORS = 2048;
const CHUNKS = SIZE / CHUNK_SECTORS;

interface Ran {
  readonly status: number | null;
  readonly out: string;
}

function run(command: string, ...args: string[]): Promise<Ran> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"] });
    let out = "";
    const collect = (data: Buffer): void => {
      out += data.toString();
    };
    child.stdout.on("data", collect);
    child.stderr.on("data", collect);
    child.on("error", reject);
    child.on("close", (status) => resolve({ status, out }));
  });
}

async function must(command: string, ...args: string[]): Promise<string> {
  const { status, out } = await run(command, ...args);
  expect(status, `${command} ${args.join(" ")}\n${out}`).toBe(0);
  return out;
}

describe.each(["io_uring", "threads"] as const)("an engine in a worker, over %s", (ring) => {
  let folder: ReturnType<typeof tempDir>;
  let paths: readonly string[];
  let shared: SharedBlock;
  let engine: EngineHandle | null;
  let notices: EngineNotice[];

  beforeEach(() => {
    folder = tempDir("engine");
    paths = ["a", "b"].map((name) => join(folder.path, name));
    for (const path of paths) {
      writeFileSync(path, "");
      truncateSync(path, (DATA_AT + SIZE) * 512);
    }
    shared = new SharedBlock();
    shared.setLease(Number.POSITIVE_INFINITY);
    engine = null;
    notices = [];
  });
  afterEach(async () => {
    await engine?.send({ type: "stop" }).catch(() => {});
    folder.remove();
  });

  const config = (
    changes: Partial<EngineConfig> = {},
    bits: Uint8Array = new Uint8Array(CHUNKS / 8),
  ): EngineConfig => ({
    name: "test",
    level: 1,
    layout: 0,
    chunkSectors: 0,
    memberSize: sector(SIZE),
    size: sector(SIZE),
    raidDisks: 2,
    members: paths.map((path, place) => ({
      place,
      path,
      dataOffset: sector(DATA_AT),
      bitmapAt: sector(16),
      pillAt: null,
      writeMostly: false,
      state: "in_sync",
      recoveredTo: sector(0),
    })),
    bitmap: {
      slot: slotNumber(0),
      chunkSectors: CHUNK_SECTORS,
      chunks: CHUNKS,
      flushMs: 5000,
      superblock: new Uint8Array(256),
      bits,
      stored: true,
      events: 3,
    },
    pill: null,
    pillEveryMs: 1000,
    ioTimeoutMs: 30_000,
    slowIoMs: 2000,
    readOnly: false,
    ring,
    queueDepth: 64,
    arenaBytes: 64 * MIB,
    ...changes,
  });

  async function start(changes: Partial<EngineConfig> = {}, bits?: Uint8Array): Promise<EngineHandle> {
    const started = await startEngine(config(changes, bits), shared);
    started.onNotice((notice) => notices.push(notice));
    engine = started;
    return started;
  }

  async function attach(started: EngineHandle): Promise<string> {
    const path = join(folder.path, "nbd.sock");
    const address = { type: "unix", path } as const;
    const frontEnd = { type: "nbd", address, exportName: "disk", readOnly: false, multiConn: true } as const;
    await started.send({ type: "attach", frontEnd });
    return `nbd+unix:///disk?socket=${path}`;
  }

  const data = (path: string): Buffer => readFileSync(path).subarray(DATA_AT * 512);

  it("mirrors what an NBD client writes, gives it back, and leaves a clean bitmap behind", async () => {
    const started = await start();
    const uri = await attach(started);
    const random = new SeededRandom(5);
    const image = Buffer.from(Uint32Array.from({ length: (32 * MIB) / 4 }, () => random.next() * 2 ** 32).buffer);
    const [from, to] = [join(folder.path, "from"), join(folder.path, "to")];
    writeFileSync(from, image);
    await must("nbdcopy", "--flush", from, uri);
    await must("nbdcopy", uri, to);
    expect(readFileSync(to).equals(image)).toBe(true);
    expect((await started.send({ type: "queryBitmap" })).dirty).toBe(CHUNKS);
    await started.send({ type: "stop" });
    for (const path of paths) {
      const bytes = readFileSync(path);
      expect(bytes.subarray(DATA_AT * 512).equals(image)).toBe(true);
      expect(new Set(bytes.subarray(16 * 512 + 256, 24 * 512))).toEqual(new Set([0]));
    }
    expect(shared.read("writeSectors")).toBe(SIZE);
    expect(notices[0]).toMatchObject({ type: "started", ringKind: ring });
  });

  it("keeps the mirrors equal under fio's verifying load, with a window of another node moving through", async () => {
    const started = await start();
    const uri = await attach(started);
    const load = run(
      "fio",
      "--name=verify",
      "--ioengine=nbd",
      `--uri=${uri}`,
      "--rw=randrw",
      "--bs=16k",
      "--iodepth=16",
      "--size=32M",
      "--verify=crc32c",
      "--verify_fatal=1",
      "--verify_state_save=0",
      "--fsync=64",
      "--serialize_overlap=1",
      "--randseed=11",
    );
    let done = false;
    void load.finally(() => {
      done = true;
    });
    for (let lo = 0; !done; lo = (lo + 8192) % SIZE) {
      await started.send({ type: "suspend", slot: slotNumber(1), range: sectorRange(lo, lo + 8192) });
      await started.send({ type: "resume", slot: slotNumber(1) });
    }
    const { status, out } = await load;
    expect(status, out).toBe(0);
    await started.send({ type: "stop" });
    const [a, b] = paths.map(data);
    expect(a?.equals(b ?? Buffer.alloc(0))).toBe(true);
  });

  it("resyncs while it is written to", async () => {
    const noise = Buffer.alloc(32 * MIB, 0xab);
    const [, second = ""] = paths;
    writeFileSync(second, Buffer.concat([Buffer.alloc(DATA_AT * 512), noise]));
    const started = await start({}, new Uint8Array(CHUNKS / 8).fill(255));
    const uri = await attach(started);
    const load = run(
      "fio",
      "--name=load",
      "--ioengine=nbd",
      `--uri=${uri}`,
      "--rw=randwrite",
      "--bs=8k",
      "--iodepth=8",
      "--size=32M",
      "--io_size=16M",
      "--verify=crc32c",
      "--do_verify=1",
      "--verify_state_save=0",
      "--randseed=12",
    );
    const whole = { type: "copy", kind: "resync", range: sectorRange(0, SIZE) } as const;
    expect(await started.send(whole)).toMatchObject({ sectors: SIZE, failed: false });
    const { status, out } = await load;
    expect(status, out).toBe(0);
    expect(await started.send({ type: "scan", kind: "resync", from: sector(0) })).toMatchObject({ range: null });
    await started.send({ type: "stop" });
    const [a, b] = paths.map(data);
    expect(a?.equals(b ?? Buffer.alloc(0))).toBe(true);
  });

  it("writes nothing without a lease", async () => {
    shared.setLease(0, Number.POSITIVE_INFINITY);
    const started = await start();
    const uri = await attach(started);
    const from = join(folder.path, "from");
    writeFileSync(from, Buffer.alloc(MIB, 0x77));
    const client = run("nbdcopy", "--", from, uri);
    // Its first writes have come in and wait.
    while (shared.read("waitingOnLease") + shared.read("inflight") === 0) await started.send({ type: "queryBitmap" });
    await started.send({ type: "queryBitmap" });
    expect(new Set(data(paths[0] ?? "").subarray(0, MIB))).toEqual(new Set([0]));
    shared.setLease(Number.POSITIVE_INFINITY);
    expect((await client).status).toBe(0);
  });

  it("rejects with the error of a member that cannot be opened", async () => {
    const members = config().members.map((member) => ({ ...member, path: `${member.path}-missing` }));
    await expect(startEngine(config({ members }), shared)).rejects.toMatchObject({ code: "E_NO_DEVICE" });
  });

  it("refuses what comes after its stop", async () => {
    const started = await start();
    await started.send({ type: "stop" });
    await expect(started.send({ type: "unquiesce" })).rejects.toMatchObject({ code: "E_ARRAY_NOT_ACTIVE" });
  });

  it("gives up at once when told to, without an answer", async () => {
    const started = await start();
    const quiesce = started.send({ type: "quiesce" });
    started.abandon();
    await expect(quiesce).rejects.toMatchObject({ code: "E_CANCELLED" });
  });
});

describe("a process with an engine in it", () => {
  it("ends when it wants to, though a thread waits in the ring", async () => {
    const folder = tempDir("engine-exit");
    const path = join(folder.path, "a");
    writeFileSync(path, Buffer.alloc(DATA_AT * 512 + 64 * 512));
    const script = join(folder.path, "script.mts");
    const source = new URL("../../src/engine/engine-handle.ts", import.meta.url).href;
    writeFileSync(
      script,
      `import { startEngine } from ${JSON.stringify(source)};
       await startEngine({ name: "x", level: 1, layout: 0, chunkSectors: 0, size: 64, memberSize: 64, raidDisks: 1, readOnly: false, pill: null, pillEveryMs: 1000, ring: "auto",
         members: [{ place: 0, path: ${JSON.stringify(path)}, dataOffset: ${DATA_AT}, bitmapAt: 16, pillAt: null, state: "in_sync",
           recoveredTo: 0 }],
         bitmap: { slot: 0, chunkSectors: 8, chunks: 8, flushMs: 100, superblock: new Uint8Array(256),
           bits: new Uint8Array(1), events: 1 },
         queueDepth: 8, arenaBytes: 4 << 20 } as never);
       process.exit(7);`,
    );
    const { status, out } = await run(process.execPath, "--import", import.meta.resolve("tsx"), script);
    folder.remove();
    expect(status, out).toBe(7);
  });
});
