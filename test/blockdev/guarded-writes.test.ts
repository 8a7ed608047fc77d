import { closeSync, ftruncateSync, openSync, readFileSync } from "node:fs";
import { setImmediate as nextRound } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { sector } from "../../src/base/units.ts";
import { type IoRing, WRITE_DURABLE } from "../../src/blockdev/io-ring.ts";
import { openRing } from "../../src/blockdev/open-ring.ts";
import type { TestMember } from "../conformance/io-ring.ts";
import { fileMember } from "./test-member.ts";

const EAGAIN = -11;
const BLOCK = 4096;
const BLOCKS = 64;
const options = { entries: 128, arenaBytes: 1 << 20 };
const hasUring = openRing("auto", options).kind === "io_uring";

describe.each(hasUring ? (["io_uring", "threads"] as const) : (["threads"] as const))("guarded writes: %s", (kind) => {
  let member: TestMember;
  let ring: IoRing;
  let device: number;
  let mayWrite: boolean;
  let asked: number;

  beforeEach(() => {
    member = fileMember();
    // Nothing but holes: each first write has to wait for the file system.
    const fd = openSync(member.path, "r+");
    ftruncateSync(fd, 0);
    ftruncateSync(fd, BLOCKS * BLOCK * 2);
    closeSync(fd);
    ring = openRing(kind, options);
    device = ring.openDevice(member.path, { readOnly: false });
    ring.arena.fill(7, 0, BLOCK);
    mayWrite = true;
    asked = 0;
    ring.guardWrites?.(() => {
      asked++;
      return mayWrite;
    });
  });
  afterEach(() => {
    ring.close();
    member.remove();
  });

  /** Completions of one round, by tag. */
  async function round(count: number): Promise<Map<number, number>> {
    const results = new Map<number, number>();
    for (const limit = Date.now() + 20_000; results.size < count; await nextRound()) {
      if (Date.now() > limit) throw new Error("operations do not complete");
      const reaped = ring.submitAndReap(0);
      for (let i = 0; i < reaped; i++) results.set(ring.completedTag[i] ?? -1, ring.completedResult[i] ?? 0);
    }
    return results;
  }

  /** As the engine does: what was put off is written again. */
  async function writeAll(flags: number): Promise<number> {
    let open = Array.from({ length: BLOCKS }, (_, block) => block);
    let rounds = 0;
    for (; open.length > 0; rounds++) {
      if (rounds > 100) throw new Error("writes are put off for ever");
      for (const block of open) ring.write(device, sector(block * 8), 8, 0, flags, block);
      const results = await round(open.length);
      for (const result of results.values()) expect([BLOCK, EAGAIN]).toContain(result);
      open = open.filter((block) => results.get(block) === EAGAIN);
    }
    return rounds;
  }

  it.each([
    ["plain", 0],
    ["durable", WRITE_DURABLE],
  ])("reach the holes of a file all the same: %s", async (_name, flags) => {
    expect(await writeAll(flags)).toBeLessThanOrEqual(4);
    expect(
      readFileSync(member.path)
        .subarray(0, BLOCKS * BLOCK)
        .every((byte) => byte === 7),
    ).toBe(true);
    expect(asked).toBeGreaterThan(0);
  });

  it("come back, and nothing is written, when they may not go out any more", async () => {
    const before = readFileSync(member.path);
    // Threads do at once what they do at all; the other is asked again right before it submits.
    mayWrite = kind === "io_uring";
    for (let block = 0; block < BLOCKS; block++) ring.write(device, sector(block * 8), 8, 0, 0, block);
    mayWrite = false;
    const results = await round(BLOCKS);
    expect(new Set(results.values())).toEqual(new Set([EAGAIN]));
    expect(readFileSync(member.path).equals(before)).toBe(true);
  });

  it("that were put off are not made up for behind the guard's back", async () => {
    for (let block = 0; block < BLOCKS; block++) ring.write(device, sector(block * 8), 8, 0, 0, block);
    const results = await round(BLOCKS);
    const putOff = [...results].filter(([, result]) => result === EAGAIN).map(([block]) => block);
    mayWrite = false;
    for (const block of putOff) ring.write(device, sector(block * 8), 8, 0, 0, block);
    if (putOff.length > 0) expect(new Set((await round(putOff.length)).values())).toEqual(new Set([EAGAIN]));
    const content = readFileSync(member.path);
    for (const block of putOff) expect(content[block * BLOCK]).toBe(0);
  });

  it("leave reads alone", async () => {
    mayWrite = false;
    ring.read(device, sector(0), 8, BLOCK, 5);
    expect((await round(1)).get(5)).toBe(BLOCK);
  });

  it.skipIf(kind === "threads")(
    "let zeroes through only when they may go out, and leave none to a thread",
    async () => {
      await writeAll(0);
      mayWrite = false;
      ring.zero(device, sector(0), 8, false, 1);
      expect((await round(1)).get(1)).toBe(EAGAIN);
      expect(readFileSync(member.path)[0]).toBe(7);
      mayWrite = true;
      ring.zero(device, sector(0), 8, false, 2);
      const bytesNow = readFileSync(member.path)[0];
      const result = (await round(1)).get(2);
      if (result === 0) expect(bytesNow).toBe(0);
      else expect(result).toBe(-95);
    },
  );
});
