import type { SlotNumber } from "../base/units.ts";
import { type Clock, sleep } from "../env/clock.ts";

/** How long the others leave a new member to its adder, when they hear nothing of it. */
const LIMIT_MS = 5000;

/**
 * Who has added a member fills it: the others leave it the `resync` lock until it has begun, is gone, or has let its
 * time pass (md's WAITING_FOR_SYNC; md-cluster, 13.4 and 26.21). Unlike md nothing rests on it: whoever is first copies
 * the same. But an operator finds the recovery where the command was given.
 */
export class AdderFirst {
  #expected: { readonly slot: SlotNumber; readonly over: AbortController } | null = null;

  expect(slot: SlotNumber): void {
    this.#expected = { slot, over: new AbortController() };
  }

  /** It has begun, or is gone. */
  over(slot: SlotNumber): void {
    if (this.#expected?.slot !== slot) return;
    this.#expected.over.abort();
    this.#expected = null;
  }

  async wait(clock: Clock, stop: AbortSignal): Promise<void> {
    const expected = this.#expected;
    if (expected === null) return;
    await sleep(clock, LIMIT_MS, expected.over.signal, stop);
    this.over(expected.slot);
  }
}
