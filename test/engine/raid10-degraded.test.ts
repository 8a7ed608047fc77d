import { describe, expect, it } from "vitest";
import { sector } from "../../src/base/units.ts";
import { DATA_AT, diskName, EngineBench, isRead, isWrite, member, on } from "../support/engine-bench.ts";
import { allSubsets, mdEnough, mdPlaces, raid10Shape } from "../support/raid10.ts";

const EIO = -5;
const CHUNK = 8;
const ROWS = 6;

type Shape = ReturnType<typeof raid10Shape>;

/** A RAID10 without the members that are not in `alive`. */
const benchOf = (shape: Shape, alive: Uint8Array): EngineBench =>
  new EngineBench({
    disks: shape.raidDisks,
    shape,
    bits: new Uint8Array(Math.ceil(Math.ceil(shape.size / 64) / 8)),
    members: Array.from(alive, (is) => (is === 1 ? {} : { state: "faulty" as const })),
  });

/** Every chunk gets a byte of its own; what was written is what is read, and on each copy that is there. */
function expectServed(bench: EngineBench, shape: Shape, alive: Uint8Array): void {
  const buffers: { readonly at: number; readonly buffer: number }[] = [];
  for (let at = 0; at < shape.size; at += CHUNK) {
    const written = bench.write(at, CHUNK, 1 + ((at / CHUNK) % 250));
    bench.run();
    expect(written.errno).toBe(0);
  }
  for (let at = 0; at < shape.size; at += CHUNK) {
    const read = bench.read(at, CHUNK);
    bench.run();
    expect(read.errno).toBe(0);
    buffers.push({ at, buffer: read.buffer });
  }
  for (const { at, buffer } of buffers) {
    const fill = 1 + ((at / CHUNK) % 250);
    expect(bench.ring.arena[buffer]).toBe(fill);
    expect(bench.ring.arena[buffer + CHUNK * 512 - 1]).toBe(fill);
    for (const [disk, onMember] of mdPlaces(shape, at)) {
      const content = bench.content(diskName(disk), onMember, CHUNK);
      expect([content[0], content.at(-1)]).toEqual(alive[disk] === 1 ? [fill, fill] : [0, 0]);
    }
  }
  const data = bench.ring.log.filter((op) => isRead(op) || isWrite(op));
  expect(data.filter(({ path }) => alive[Number(path.slice(1))] !== 1)).toEqual([]);
}

const layouts: readonly (readonly [layout: string, disks: number])[] = [
  ["n2", 2],
  ["n2", 3],
  ["n2", 4],
  ["n2", 5],
  ["n3", 4],
  ["n3", 5],
  ["f2", 2],
  ["f2", 3],
  ["f2", 4],
  ["f3", 5],
  ["o2", 3],
  ["o2", 4],
  ["o3", 5],
  ["n2f2", 4],
];

describe.each(layouts)("RAID10 %s on %i members, with any of them out", (layout, disks) => {
  const shape = raid10Shape(layout, disks, CHUNK, ROWS);
  const surviving = allSubsets(disks).filter((alive) => mdEnough(shape, alive));

  it("serves all of its data exactly if md would", () => {
    for (const alive of allSubsets(disks)) {
      if (mdEnough(shape, alive)) expectServed(benchOf(shape, alive), shape, alive);
      else expect(() => benchOf(shape, alive)).toThrow(/no copy is in sync|no member that is in sync/);
    }
  });

  it("lets go of one more exactly if md would, and never of the last copy of anything", async () => {
    for (const alive of surviving) {
      for (const disk of alive.keys()) {
        if (alive[disk] !== 1) continue;
        const without = alive.with(disk, 0);
        const may = mdEnough(shape, without);
        const ordered = benchOf(shape, alive);
        const { error } = await ordered.send({ type: "setMember", member: { ...member(disk), state: "faulty" } });
        expect(error === null, `${disk} of ${alive} by command`).toBe(may);
        if (!may) expect(error).toMatchObject({ code: "E_LAST_COPY" });

        // A member that takes no writes any more.
        const failing = benchOf(shape, alive);
        failing.ring.fail(on(diskName(disk), isWrite), EIO);
        const all = failing.write(0, shape.size, 9);
        failing.run();
        expect(failing.failures().length, `${disk} of ${alive} by a write error`).toBe(may ? 1 : 0);
        if (may) {
          expect(all.errno).toBe(null);
          await failing.send({ type: "settleFailure", place: disk, outcome: "faulty" });
        }
        expect(all.errno).toBe(may ? 0 : 5);
        const read = failing.read(0, shape.size);
        failing.run();
        expect(read.errno).toBe(0);
      }
    }
  });

  it("reads around what members cannot give, as long as a copy is left", () => {
    const all = new Uint8Array(disks).fill(1);
    for (const readable of allSubsets(disks)) {
      const bench = benchOf(shape, all);
      bench.write(0, shape.size, 7);
      bench.run();
      for (const disk of readable.keys()) if (readable[disk] === 0) bench.ring.fail(on(diskName(disk), isRead), EIO);
      for (let at = 0; at < shape.size; at += CHUNK) {
        const has = mdPlaces(shape, at).some(([disk]) => readable[disk] === 1);
        const read = bench.read(at, CHUNK);
        bench.run();
        expect(read.errno, `chunk ${at / CHUNK} without ${readable}`).toBe(has ? 0 : 5);
        if (has) expect(bench.ring.arena[read.buffer]).toBe(7);
      }
    }
  });
});

describe("a member of a far or offset RAID10 that is filled", () => {
  it.each([
    ["f2", 3],
    ["f3", 4],
    ["o2", 3],
    ["o2", 4],
    ["n2f2", 5],
  ])("%s on %i: has all its copies, in windows of any size, and nobody else is written", async (layout, disks) => {
    const shape = raid10Shape(layout, disks, CHUNK, ROWS);
    for (const window of [CHUNK, 3 * CHUNK + 5, shape.size]) {
      for (let filled = 0; filled < disks; filled++) {
        const bench = benchOf(shape, new Uint8Array(disks).fill(1));
        for (let at = 0; at < shape.size; at += CHUNK) {
          bench.write(at, CHUNK, 1 + at / CHUNK);
          bench.run();
        }
        const expected = bench.content(diskName(filled), 0, shape.memberSize).slice();
        await bench.send({ type: "setMember", member: { ...member(filled), state: "faulty" } });
        bench.ring.disks.get(diskName(filled))?.fill(0xee, DATA_AT * 512);
        await bench.send({ type: "setMember", member: { ...member(filled), state: "rebuilding" } });
        const before = bench.ring.log.length;
        for (let lo = 0; lo < shape.size; lo += window) {
          const range = { lo: sector(lo), hi: sector(Math.min(shape.size, lo + window)) };
          const { answer } = await bench.send({ type: "copy", kind: "recover", range });
          expect(answer).toMatchObject({ failed: false, aimless: false });
        }
        const content = bench.content(diskName(filled), 0, shape.memberSize);
        for (let at = 0; at < shape.size; at++) {
          for (const [disk, onMember] of mdPlaces(shape, at)) {
            if (disk === filled) expect(content[onMember * 512]).toBe(expected[onMember * 512]);
          }
        }
        const written = bench.ring.log.slice(before).filter(isWrite);
        expect(new Set(written.map(({ path }) => path))).toEqual(new Set([diskName(filled)]));
      }
    }
  });
});
