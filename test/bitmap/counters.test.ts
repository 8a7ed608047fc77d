import { describe, expect, it } from "vitest";
import { ChunkCounters, NEEDED, RESYNC } from "../../src/bitmap/counters.ts";

/** Ages once; the chunks that were cleared. */
function age(counters: ChunkCounters, mayClear = true): readonly number[] {
  const cleared: number[] = [];
  counters.age(mayClear, (chunk) => cleared.push(chunk));
  return cleared;
}

describe("a chunk's counter", () => {
  it("rises from 0 to 3 with the first write, which sets the bit, and by one with each further one", () => {
    const counters = new ChunkCounters(8);
    expect(counters.raise(5)).toBe(true);
    expect(counters.value(5)).toBe(3);
    expect(counters.raise(5)).toBe(false);
    expect(counters.value(5)).toBe(4);
    counters.lower(5);
    counters.lower(5);
    expect(counters.value(5)).toBe(2);
    expect(counters.dirty).toBe(1);
  });

  it("falls from 2 over 1 to 0 in two periods, and back to 3 by a write in between", () => {
    const counters = new ChunkCounters(8);
    counters.raise(5);
    counters.lower(5);
    expect(age(counters)).toEqual([]);
    expect(counters.value(5)).toBe(1);
    expect(counters.raise(5)).toBe(false);
    expect(counters.value(5)).toBe(3);
    counters.lower(5);
    expect(age(counters)).toEqual([]);
    expect(age(counters, false)).toEqual([]);
    expect(age(counters)).toEqual([5]);
    expect([counters.value(5), counters.dirty, counters.hasIdle]).toEqual([0, 0, false]);
  });

  it("does not fall with a write in flight, nor while it needs a resync", () => {
    const counters = new ChunkCounters(8);
    counters.raise(1);
    counters.need(2);
    counters.need(3);
    counters.startSync(3);
    for (let i = 0; i < 4; i++) expect(age(counters)).toEqual([]);
    expect([1, 2, 3].map((chunk) => counters.value(chunk))).toEqual([3, 2 | NEEDED, 2 | RESYNC]);
  });

  it("may fall after its resync, and not after one that was aborted", () => {
    const counters = new ChunkCounters(8);
    for (const chunk of [1, 2]) {
      counters.need(chunk);
      expect(counters.startSync(chunk)).toBe(true);
    }
    counters.endSync(1, false);
    counters.endSync(2, true);
    expect(counters.needed).toBe(1);
    age(counters);
    expect(age(counters)).toEqual([1]);
    expect(counters.needsSync(2)).toBe(true);
    expect(counters.startSync(0)).toBe(false);
  });

  it("called needed in the middle of its resync needs another one after it", () => {
    const counters = new ChunkCounters(8);
    counters.need(1);
    counters.startSync(1);
    counters.need(1);
    counters.endSync(1, false);
    expect(counters.needsSync(1)).toBe(true);
    expect(counters.needed).toBe(1);
  });

  it("that would fall below nothing is a contradiction", () => {
    expect(() => new ChunkCounters(8).lower(0)).toThrow("no write in flight");
  });
});

describe("looking for chunks that need a resync", () => {
  it("finds the next one, however far", () => {
    const counters = new ChunkCounters(100_000);
    for (const chunk of [3, 4096, 99_999]) counters.need(chunk);
    expect([0, 3, 4, 4097, 99_999].map((from) => counters.nextNeeded(from))).toEqual([3, 3, 4096, 99_999, 99_999]);
    expect(counters.nextNeeded(100_000)).toBe(-1);
    counters.startSync(99_999);
    counters.endSync(99_999, false);
    expect(counters.nextNeeded(4097)).toBe(-1);
  });
});
