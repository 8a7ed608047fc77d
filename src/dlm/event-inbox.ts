import type { LockEvent } from "./lock-call.ts";

/**
 * Puts events into their order: each exactly once, by their numbers, whichever way and however often they came.
 * Events go to `handle` one after the other; the next waits until the promise of the last one has settled.
 */
export class EventInbox {
  readonly #handle: (event: LockEvent) => Promise<void>;
  readonly #queue: LockEvent[] = [];
  readonly #whenDrained: (() => void)[] = [];
  #last = 0;
  #running = false;
  #started = false;

  constructor(handle: (event: LockEvent) => Promise<void>) {
    this.#handle = handle;
  }

  /** Number of the last event taken: what the server may forget. */
  get last(): number {
    return this.#last;
  }

  /** Taken, and not handled yet. */
  get waiting(): readonly LockEvent[] {
    return this.#queue;
  }

  /** False: one before these is missing (none of what follows the gap was taken). */
  take(events: readonly LockEvent[]): boolean {
    for (const event of events) {
      if (event.n <= this.#last) continue;
      if (event.n !== this.#last + 1) return false;
      this.#last = event.n;
      this.#queue.push(event);
    }
    void this.#run();
    return true;
  }

  /** Nothing is handled before. */
  start(): void {
    this.#started = true;
    void this.#run();
  }

  /** Resolves when everything that was taken is handled; at once where nothing is handled yet. */
  async drained(): Promise<void> {
    if (this.#running) await new Promise<void>((resolve) => this.#whenDrained.push(resolve));
  }

  /** A new epoch: events count from 1 again. What was taken before is handled all the same, then `first`. */
  restart(first: readonly LockEvent[]): void {
    this.#last = 0;
    this.#queue.push(...first);
    void this.#run();
  }

  stop(): void {
    this.#started = false;
    this.#queue.length = 0;
  }

  async #run(): Promise<void> {
    if (this.#running || !this.#started) return;
    this.#running = true;
    try {
      for (;;) {
        const event = this.#queue.shift();
        if (event === undefined) break;
        await this.#handle(event);
      }
    } finally {
      this.#running = false;
      for (const resolve of this.#whenDrained.splice(0)) resolve();
    }
  }
}
