import { describe, expect, it } from "vitest";
import { simulate } from "./simulate.ts";

/** `share-0` begins with seed 0, the next one with 500. */
const SHARE = 500;
const PER_TEST = 50;

/**
 * Always the same seeds: what a change breaks shows, and nothing else. One file a share, so that all of vitest's workers
 * have some. In a process of their own they run faster than among vitest's modules.
 */
export function testShare(share: number): void {
  describe("a simulated cluster is whole again after any mix of all faults", () => {
    const first = share * SHARE;
    for (let at = first; at < first + SHARE; at += PER_TEST) {
      it(`with seeds ${at} to ${at + PER_TEST - 1}`, { timeout: 600_000 }, async () => {
        expect(await simulate(at, PER_TEST)).toEqual({ status: 0, said: "" });
      });
    }
  });
}
