import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { NbdClient } from "../../src/blockdev/nbd/nbd-client.ts";
import { tempDir } from "../support/temp-dir.ts";

const DATA_AT = 64;
const SECTORS = 8192;
const LEASE_MS = 2000;

describe("F08: a process whose main thread is in a loop without end", () => {
  let folder: ReturnType<typeof tempDir>;
  beforeEach(() => {
    folder = tempDir("starved");
  });
  afterEach(() => folder.remove());

  it("writes nothing after its lease: the data plane has a thread and a clock of its own", async () => {
    const member = join(folder.path, "member");
    writeFileSync(member, Buffer.alloc((DATA_AT + SECTORS) * 512));
    const socket = join(folder.path, "nbd.sock");
    const done = join(folder.path, "done");
    const script = join(folder.path, "script.mts");
    const source = (path: string): string => JSON.stringify(new URL(`../../src/${path}`, import.meta.url).href);
    writeFileSync(
      script,
      `import { existsSync } from "node:fs";
       import { startEngine } from ${source("engine/engine-handle.ts")};
       import { SharedBlock } from ${source("engine/shared-block.ts")};
       import { realClock } from ${source("env/real-env.ts")};
       const shared = new SharedBlock();
       const engine = await startEngine({ name: "x", level: 1, layout: 0, chunkSectors: 0, size: ${SECTORS}, memberSize: ${SECTORS}, raidDisks: 1, readOnly: false,
         pill: null, pillEveryMs: 1000, ring: "auto",
         members: [{ place: 0, path: ${JSON.stringify(member)}, dataOffset: ${DATA_AT}, bitmapAt: 16, pillAt: null,
           state: "in_sync", recoveredTo: 0 }],
         bitmap: { slot: 0, chunkSectors: 64, chunks: ${SECTORS / 64}, flushMs: 60000, superblock: new Uint8Array(256),
           bits: new Uint8Array(${SECTORS / 512}), events: 1 },
         queueDepth: 8, arenaBytes: 4 << 20 } as never, shared);
       const address = { type: "unix", path: ${JSON.stringify(socket)} };
       await engine.send({ type: "attach", frontEnd: { type: "nbd", address, exportName: "x", readOnly: false,
         multiConn: true } } as never);
       shared.setLease(realClock.now() + ${LEASE_MS});
       process.stdout.write("begun");
       while (!existsSync(${JSON.stringify(done)}));
       process.kill(process.pid, "SIGKILL");`,
    );
    const child = spawn(process.execPath, ["--import", import.meta.resolve("tsx"), script], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const ended = once(child, "exit");
    await once(child.stdout, "data");
    // Block by block until one is not answered any more: then the lease is over, though nobody has said so.
    const client = await NbdClient.connect(`nbd+unix:///x?socket=${socket}`);
    let answered = 0;
    for (let alive = true; alive; ) {
      const write = client.write((answered % (SECTORS / 8)) * 4096, Buffer.alloc(4096, 1 + (answered % 250)));
      write.catch(() => {});
      alive = await Promise.race([write.then(() => true), silence()]);
      if (alive) answered++;
    }
    expect(answered).toBeGreaterThan(0);
    const before = readFileSync(member);
    const unanswered = Buffer.alloc(4096, 255);
    for (let i = 0; i < 4; i++) client.write(i * 4096, unanswered).catch(() => {});
    await silence();
    expect(existsSync(done)).toBe(false);
    expect(readFileSync(member).equals(before)).toBe(true);
    writeFileSync(done, "");
    await ended;
    expect(readFileSync(member).equals(before)).toBe(true);
    await client.close().catch(() => {});
  });
});

/** Longer than any answer takes. */
const silence = (): Promise<boolean> => new Promise((resolve) => setTimeout(() => resolve(false), 1.5 * LEASE_MS));
