import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { BufferPool } from "../../src/blockdev/nbd/buffer-pool.ts";

const PAGE = 4096;

describe("BufferPool", () => {
  it("gives page-aligned buffers with a page of headroom", () => {
    const pool = new BufferPool(3 * PAGE, 8 * PAGE);
    expect(pool.take(1)).toBe(4 * PAGE);
    expect(pool.freePages).toBe(6);
    expect(pool.take(PAGE + 1)).toBe(6 * PAGE);
    expect(pool.freePages).toBe(3);
    expect(pool.take(3 * PAGE)).toBe(-1);
    expect(pool.take(2 * PAGE)).toBe(9 * PAGE);
    expect(pool.freePages).toBe(0);
    expect(pool.take(1)).toBe(-1);
  });

  it("joins what is freed with its neighbours, in any order", () => {
    fc.assert(
      fc.property(fc.shuffledSubarray([0, 1, 2, 3, 4, 5], { minLength: 6 }), (order) => {
        const pool = new BufferPool(0, 12 * PAGE);
        const buffers = Array.from({ length: 6 }, () => pool.take(PAGE));
        for (const i of order) pool.release(buffers[i] ?? -1);
        expect(pool.take(11 * PAGE)).toBe(PAGE);
      }),
    );
  });

  it("never gives the same page twice, and loses none", () => {
    const operation = fc.record({ take: fc.boolean(), bytes: fc.integer({ min: 1, max: 20 * PAGE }), pick: fc.nat() });
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 300 }), (operations) => {
        const pool = new BufferPool(PAGE, 64 * PAGE);
        const taken: { at: number; bytes: number }[] = [];
        for (const { take, bytes, pick } of operations) {
          if (take) {
            const at = pool.take(bytes);
            if (at < 0) continue;
            const pages = BufferPool.pagesFor(bytes);
            const [from, to] = [at - PAGE, at + (pages - 1) * PAGE];
            expect(from).toBeGreaterThanOrEqual(PAGE);
            expect(to).toBeLessThanOrEqual(65 * PAGE);
            for (const other of taken) {
              const end = other.at + (BufferPool.pagesFor(other.bytes) - 1) * PAGE;
              expect(from >= end || to <= other.at - PAGE).toBe(true);
            }
            taken.push({ at, bytes });
          } else if (taken.length > 0) {
            const [gone] = taken.splice(pick % taken.length, 1);
            pool.release(gone?.at ?? -1);
          }
          const held = taken.reduce((sum, { bytes: size }) => sum + BufferPool.pagesFor(size), 0);
          expect(pool.freePages).toBe(64 - held);
        }
        for (const { at } of taken) pool.release(at);
        expect(pool.take(63 * PAGE)).toBe(2 * PAGE);
      }),
      { numRuns: 200 },
    );
  });

  it("keeps small buffers out of the way of large ones", () => {
    const pool = new BufferPool(0, 1024 * PAGE);
    const large = pool.take(500 * PAGE);
    const small = Array.from({ length: 100 }, () => pool.take(PAGE));
    pool.release(large);
    for (const [i, buffer] of small.entries()) if (i % 2 === 0) pool.release(buffer);
    expect(pool.take(700 * PAGE)).toBeGreaterThan(0);
  });

  it("refuses to take back what it did not give", () => {
    const pool = new BufferPool(0, 8 * PAGE);
    const buffers = [pool.take(PAGE), pool.take(PAGE), pool.take(PAGE)];
    for (const buffer of buffers) pool.release(buffer);
    for (const buffer of buffers) expect(() => pool.release(buffer)).toThrow("not taken");
  });
});
