import type { SimEvent } from "../sim-event.ts";
import type { Checker, Report } from "./checker.ts";
import { Leases } from "./leases.ts";
import { findContradiction, type RegisterOperation } from "./register-history.ts";

type Action = RegisterOperation["action"];

export interface ValueRules {
  /** Reads under NL and CR, which exclude no writer, count as well. Not so where two lock servers may answer. */
  readonly weakReads: boolean;
  /** A member that dies may take a value with it that nobody else has seen, since the lock server may have forgotten it. */
  readonly deathsForget: boolean;
}

/** Milliseconds from a member's removal to the end of the re-mastering that misses it, at most. */
const REBUILD_MS = 2000;

interface Asked {
  readonly life: string;
  readonly resource: string;
  readonly at: number;
  readonly wrote: string | null;
  readonly isWeak: boolean;
}

/**
 * Sections under a lock, and the values that are handed on in its value block, have one order for everybody (F33): a
 * read sees the value that was published last, or is told that there is none to trust. What a member reads without a
 * lease does not count, and what it publishes may never be seen. Judged at the end of a run.
 */
export class LockValueChecker implements Checker {
  readonly name = "value blocks are linearizable";
  readonly #now: () => number;
  readonly #report: Report;
  readonly #rules: ValueRules;
  readonly #leases: Leases;
  readonly #history = new Map<string, RegisterOperation[]>();
  /** By lock: conversions under way. */
  readonly #asked = new Map<number, Asked[]>();
  /** Writes whose writer never heard the outcome: they may take effect until it is thrown out. */
  #unsure: Asked[] = [];
  /** By resource: its locks; with none the value is forgotten. */
  readonly #locks = new Map<string, Set<number>>();
  readonly #emptySince = new Map<string, number>();
  readonly #lives = new Map<number, string>();

  constructor(now: () => number, report: Report, rules: ValueRules) {
    this.#now = now;
    this.#rules = rules;
    this.#report = report;
    this.#leases = new Leases(now);
  }

  observe(event: SimEvent): void {
    this.#leases.observe(event);
    switch (event.type) {
      case "lock_opened":
        this.#opened(event.lock, event.life, event.resource);
        break;
      case "lock_asked": {
        const { life, resource, wrote, to } = event;
        const asked = this.#asked.get(event.lock) ?? [];
        this.#asked.set(event.lock, asked);
        asked.push({ life, resource, wrote, at: this.#now(), isWeak: to === "NL" || to === "CR" });
        break;
      }
      case "lock_done": {
        const asked = this.#asked.get(event.lock)?.shift();
        if (asked === undefined) return;
        const isSure = this.#leases.holds(event.life);
        if (event.status === "lost" || !isSure) this.#neverHeard(asked);
        else if (asked.wrote !== null && event.status === "granted") this.#wrote(asked, asked.wrote, true);
        else if (event.read !== null) this.#read(asked, event.valid ? event.read : null);
        break;
      }
      case "lock_closed":
        this.#closed(event.lock, event.resource);
        break;
      case "life_ended":
        this.#ended(event.life);
        break;
      case "evicted":
        for (const asked of this.#unsure) if (asked.life === event.life) this.#wrote(asked, asked.wrote ?? "", false);
        this.#unsure = this.#unsure.filter(({ life }) => life !== event.life);
        if (this.#rules.deathsForget) this.#mayBeForgotten();
        // Its locks are gone, whether it knows or not.
        for (const [lock, life] of this.#lives) if (life === event.life) this.#closedAll(lock);
        break;
      default:
    }
  }

  #mayBeForgotten(): void {
    const now = this.#now();
    for (const [resource, history] of this.#history) {
      const action = { type: "vanish" } as const;
      history.push({ who: resource, invoked: now, returned: now + REBUILD_MS, certain: false, action });
    }
  }

  #opened(lock: number, life: string, resource: string): void {
    this.#lives.set(lock, life);
    const locks = this.#locks.get(resource) ?? new Set();
    this.#locks.set(resource, locks);
    locks.add(lock);
    const since = this.#emptySince.get(resource);
    if (since === undefined) return;
    this.#emptySince.delete(resource);
    this.#add(resource, { type: "vanish" }, "all locks were gone", since, false);
  }

  #closed(lock: number, resource: string): void {
    const locks = this.#locks.get(resource);
    if (locks?.delete(lock) && locks.size === 0) this.#emptySince.set(resource, this.#now());
  }

  #ended(life: string): void {
    for (const [lock, owner] of this.#lives) {
      if (owner !== life) continue;
      for (const asked of this.#asked.get(lock) ?? []) this.#neverHeard(asked);
      this.#asked.delete(lock);
      this.#lives.delete(lock);
      this.#closedAll(lock);
    }
  }

  #closedAll(lock: number): void {
    for (const resource of this.#locks.keys()) this.#closed(lock, resource);
  }

  #neverHeard(asked: Asked): void {
    if (asked.wrote !== null) this.#unsure.push(asked);
  }

  #wrote({ life, resource, at }: Asked, value: string, certain: boolean): void {
    this.#add(resource, { type: "write", value }, life, at, certain);
  }

  /** `value` null: the reader was warned. */
  #read({ life, resource, at, isWeak }: Asked, value: string | null): void {
    if (isWeak && !this.#rules.weakReads) return;
    this.#add(resource, value === null ? { type: "read_invalid" } : { type: "read", value }, life, at, true);
  }

  #add(resource: string, action: Action, who: string, invoked: number, certain: boolean): void {
    const history = this.#history.get(resource) ?? [];
    this.#history.set(resource, history);
    history.push({ who, invoked, returned: this.#now(), certain, action });
  }

  judge(): void {
    for (const asked of this.#unsure.splice(0)) this.#wrote(asked, asked.wrote ?? "", false);
    for (const [resource, history] of this.#history) {
      const wrong = findContradiction(history);
      if (wrong === null) continue;
      const { who, action, invoked, returned } = wrong;
      const what = `${action.type} ${"value" in action ? JSON.stringify(action.value) : ""}`;
      const when = `between ${invoked.toFixed(3)} and ${returned.toFixed(3)}`;
      this.#report(`${resource}: no order of things explains ${what} of ${who} ${when}`);
    }
  }
}
