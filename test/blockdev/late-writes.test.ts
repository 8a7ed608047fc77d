import { readFileSync } from "node:fs";
import { setImmediate as nextRound } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { sector } from "../../src/base/units.ts";
import type { IoRing } from "../../src/blockdev/io-ring.ts";
import { openRing } from "../../src/blockdev/open-ring.ts";
import { type Libc, loadLibc } from "../../src/blockdev/uring/libc.ts";
import type { TestMember } from "../conformance/io-ring.ts";
import { fileMember } from "./test-member.ts";

const EAGAIN = -11;
const BLOCK = 4096;
const options = { entries: 64, arenaBytes: 1 << 20 };
const libc = loadLibc();
const hasUring = openRing("auto", options).kind === "io_uring";

let member: TestMember;
let ring: IoRing;
let device: number;

const open = (kind: "io_uring" | "threads", how: Libc | string = libc): void => {
  ring = openRing(kind, options, how);
  device = ring.openDevice(member.path, { readOnly: false });
  ring.arena.fill(7, 0, BLOCK);
};
const write = (block: number): void => ring.write(device, sector(block * 8), 8, 0, 0, block);
const written = (block: number): boolean => readFileSync(member.path)[block * BLOCK] === 7;

/** Turns until it is done; `each` may submit in the turn. */
async function turnsUntil(done: () => boolean, each: (tag: number, result: number) => void): Promise<void> {
  for (const limit = Date.now() + 20_000; !done(); await nextRound()) {
    if (Date.now() > limit) throw new Error("operations do not complete");
    const reaped = ring.submitAndReap(0);
    for (let i = 0; i < reaped; i++) each(ring.completedTag[i] ?? -1, ring.completedResult[i] ?? 0);
  }
}

/** Results of so many operations, by tag. */
async function turns(count: number): Promise<number[]> {
  const results: number[] = [];
  let seen = 0;
  await turnsUntil(
    () => seen === count,
    (tag, result) => {
      results[tag] = result;
      seen++;
    },
  );
  return results;
}

beforeEach(() => {
  member = fileMember();
});

afterEach(() => {
  ring.close();
  member.remove();
});

describe("a ring of threads", () => {
  const count = 20;

  it("has written when `write` returns: no thread could do it later", async () => {
    open("threads");
    for (let block = 0; block < count; block++) {
      write(block);
      expect(written(block)).toBe(true);
    }
    expect(await turns(count)).toEqual(new Array(count).fill(BLOCK));
  });

  it("carries out all reads and flushes", async () => {
    open("threads");
    for (let tag = 0; tag < count; tag++) {
      if (tag % 5 === 4) ring.flush(device, tag);
      else ring.read(device, sector(tag * 8), 8, tag * BLOCK, tag);
    }
    expect(await turns(count)).toEqual(Array.from({ length: count }, (_, tag) => (tag % 5 === 4 ? 0 : BLOCK)));
  });
});

describe.skipIf(!hasUring)("a ring of io_uring that the kernel takes nothing from", () => {
  if (typeof libc === "string") return;
  let refuses: "nothing" | "everything" | "all but one";
  const busy: Libc = {
    ...libc,
    ioUringEnter(fd, submit, ...rest) {
      if (submit === 0 || refuses === "nothing") return libc.ioUringEnter(fd, submit, ...rest);
      if (refuses === "everything") return EAGAIN;
      refuses = "everything";
      return libc.ioUringEnter(fd, 1, ...rest);
    },
  };
  beforeEach(() => {
    refuses = "nothing";
  });

  it.each([
    ["everything", 0],
    ["all but one", 1],
  ] as const)("gives writes back in the same turn when it refuses %s, and lets none out later", async (what, taken) => {
    open("io_uring", busy);
    refuses = what;
    for (let block = 0; block < 10; block++) write(block);
    ring.submitAndReap(0);
    refuses = "nothing";
    const results = await turns(10);
    expect(results).toEqual(Array.from({ length: 10 }, (_, block) => (block < taken ? BLOCK : EAGAIN)));
    for (let i = 0; i < 10; i++) ring.submitAndReap(0);
    for (let block = 0; block < 10; block++) expect(written(block)).toBe(block < taken);
  });

  it("keeps what is for sockets", async () => {
    open("io_uring", busy);
    const listener = ring.listen({ type: "tcp", host: "127.0.0.1", port: 0 });
    refuses = "everything";
    write(1);
    ring.accept(listener, 2);
    write(3);
    ring.submitAndReap(0);
    refuses = "nothing";
    const given = await turns(2);
    expect([given[1], given[3]]).toEqual([EAGAIN, EAGAIN]);
    ring.closeSocket(listener);
    expect((await turns(1))[2]).toBeLessThan(0);
    expect([written(1), written(3)]).toEqual([false, false]);
  });
});
