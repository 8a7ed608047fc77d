import { assert } from "../base/assert.ts";
import type { Timer } from "../env/clock.ts";
import { EventQueue, type Scheduled } from "./event-queue.ts";
import { SeededRandom } from "./random.ts";
import { runSteps } from "./settle.ts";
import type { SimEvent } from "./sim-event.ts";
import type { SimThread } from "./sim-thread.ts";
import { Trace } from "./trace.ts";

/** Violations that are kept: one contradiction often shows in many places. */
const ENOUGH = 10;

interface Happening extends Scheduled {
  readonly action: () => void;
  readonly thread: SimThread | null;
  cancelled: boolean;
}

/**
 * Time and chance: one queue of events in one order, from one seed. Everything that happens in a simulation is an event
 * of it; what belongs to a thread of a simulated process happens only while that thread lives, and not while it is
 * paused. After an event of a thread all promises that can settle have settled before the next one.
 */
export class World {
  readonly random: SeededRandom;
  readonly trace: Trace;
  #now = 0;
  #order = 0;
  #steps = 0;
  #ids = 0;
  readonly #queue = new EventQueue<Happening>();
  readonly #observers: ((event: SimEvent) => void)[] = [];
  /** Broken invariants, in the order found. */
  readonly violations: string[] = [];

  constructor(seed: number, traceLines?: number) {
    this.trace = new Trace(traceLines);
    this.random = new SeededRandom(seed);
  }

  /** Milliseconds since the world began: the true time, which no node sees. */
  get now(): number {
    return this.#now;
  }

  /** Events so far. */
  get steps(): number {
    return this.#steps;
  }

  /** A number that nothing else in this world has. */
  nextId(): number {
    this.#ids++;
    return this.#ids;
  }

  /** `action` happens `delayMs` from now, by `thread` (null: by the world itself: nothing that settles promises). */
  schedule(delayMs: number, thread: SimThread | null, action: () => void): Timer {
    assert(delayMs >= 0, "an event lies in the past");
    const happening = { at: this.#now + delayMs, order: this.#order++, action, thread, cancelled: false };
    this.#queue.push(happening);
    return {
      cancel: () => {
        happening.cancelled = true;
      },
    };
  }

  observe(observer: (event: SimEvent) => void): void {
    this.#observers.push(observer);
  }

  /** Tells the trace and the checkers what has just happened. */
  emit(event: SimEvent): void {
    this.trace.add(this.#now, event);
    this.tell(event);
  }

  /** Only the checkers: what happens so often that nobody reads it. */
  tell(event: SimEvent): void {
    for (const observer of this.#observers) observer(event);
  }

  violation(text: string): void {
    if (this.violations.length >= ENOUGH) return;
    this.violations.push(`${this.#now.toFixed(3)} ms: ${text}`);
    this.trace.note(this.#now, `VIOLATION ${text}`);
  }

  /**
   * Runs until `done` or until time `untilMs`, whichever is first; true if it was `done`. Stops at a violation. `done` is
   * asked after each event, or where `everyMs` is given only as often as that: some conditions are expensive.
   */
  run(untilMs: number, done: () => boolean = () => false, everyMs = 0): Promise<boolean> {
    let askAt = this.#now;
    return runSteps(() => {
      const last = (this.#queue.peek()?.at ?? Number.POSITIVE_INFINITY) > untilMs;
      if (last || this.#now >= askAt) {
        if (done()) return { result: true };
        askAt = this.#now + everyMs;
      }
      if (this.violations.length > 0) return { result: false };
      if (!last) return this.#step();
      this.#now = Math.max(this.#now, untilMs);
      return { result: false };
    });
  }

  /** The next event. What belongs to no thread touches no promise. */
  #step(): "settle" | "next" {
    const next = this.#queue.pop();
    if (next === null || next.cancelled || next.thread?.ended) return "next";
    this.#now = Math.max(this.#now, next.at);
    this.#steps++;
    if (next.thread?.hold(next)) return "next";
    next.action();
    return next.thread === null ? "next" : "settle";
  }
}
