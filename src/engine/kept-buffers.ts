import type { FrontEnd } from "../blockdev/front-end.ts";

interface Kept {
  /** Operations that a device still has, and that use it. */
  operations: number;
  /** Whom it goes back to; null: its request has not left it. */
  owner: FrontEnd | null;
}

/**
 * Buffers of front ends that a device may still read or write, although nobody waits for that any more: a late read would
 * put old data where other data is by then. By arena offset. Cold: nothing is kept while all members answer.
 */
export class KeptBuffers {
  readonly #kept = new Map<number, Kept>();

  get isEmpty(): boolean {
    return this.#kept.size === 0;
  }

  has(buffer: number): boolean {
    return this.#kept.has(buffer);
  }

  /** An operation that uses it was given up. */
  keep(buffer: number): void {
    const kept = this.#kept.get(buffer);
    if (kept !== undefined) kept.operations++;
    else this.#kept.set(buffer, { operations: 1, owner: null });
  }

  /** Its request has another buffer now, or is over; `owner` is told when this one is free. */
  leave(buffer: number, owner: FrontEnd): void {
    const kept = this.#kept.get(buffer);
    if (kept !== undefined) kept.owner = owner;
  }

  /** An operation that was given up has ended. */
  ended(buffer: number): void {
    const kept = this.#kept.get(buffer);
    if (kept === undefined || --kept.operations > 0) return;
    this.#kept.delete(buffer);
    kept.owner?.giveBack(buffer);
  }
}
