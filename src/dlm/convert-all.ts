import { assert } from "../base/assert.ts";
import { type Deferred, deferred } from "../base/deferred.ts";
import { BATCH_LIMIT, type LockReply } from "./lock-call.ts";
import { type Conversion, LockHandle } from "./lock-handle.ts";
import type { LockMode } from "./lock-mode.ts";
import { lockStatus } from "./lock-status.ts";
import type { ConvertStep, Grant } from "./lockspace.ts";
import type { BareCall, MemberSession } from "./member-session.ts";

/** See `Lockspace.convertAll`: one call up to the first step that must wait, the next when that was granted. */
export function convertAll(
  session: MemberSession,
  steps: readonly ConvertStep[],
  signal?: AbortSignal,
): Promise<readonly Grant[]> {
  return new ConvertAll(session, steps, signal).result;
}

class ConvertAll {
  readonly #session: MemberSession;
  readonly #steps: readonly ConvertStep[];
  readonly #signal: AbortSignal | undefined;
  readonly #outcome: Deferred<readonly Grant[]> = deferred();
  readonly #grants: Grant[] = [];
  /** The mode of each lock when the next step's turn comes. */
  readonly #modes = new Map<LockHandle, LockMode>();
  /** Accepted, and not granted yet. */
  #waiting: Conversion | null = null;
  #finished = false;
  readonly #onAbort = (): void => this.#waiting?.lock.cancel();

  constructor(session: MemberSession, steps: readonly ConvertStep[], signal: AbortSignal | undefined) {
    this.#session = session;
    this.#steps = steps;
    this.#signal = signal;
    signal?.addEventListener("abort", this.#onAbort);
    this.#next();
  }

  get result(): Promise<readonly Grant[]> {
    return this.#outcome.promise;
  }

  /** Sends what is left. */
  #next(): void {
    const left = this.#steps.slice(this.#grants.length, this.#grants.length + BATCH_LIMIT);
    const [first] = left;
    if (first === undefined) {
      this.#finish();
    } else if (this.#signal?.aborted) {
      this.#grants.push({ status: "ecancel", mode: first.lock.mode, lvb: null, lvbValid: true });
      this.#finish();
    } else {
      const conversions = left.map((step) => this.#prepare(step));
      const call = callOf(conversions);
      const accept = (reply: LockReply): void => this.#accept(conversions, reply);
      this.#session.request(call, accept).catch((error: unknown) => this.#fail(error));
    }
  }

  #prepare({ lock, mode, ...options }: ConvertStep): Conversion {
    assert(lock instanceof LockHandle, `${lock.resource} is a lock of another lockspace`);
    const conversion = lock.prepare(mode, this.#modes.get(lock) ?? lock.mode, options);
    this.#modes.set(lock, mode);
    conversion.grant.promise.then(
      (grant) => this.#granted(conversion, grant),
      (error: unknown) => this.#fail(error),
    );
    return conversion;
  }

  /** What was not begun is prepared anew when its turn comes. */
  #accept(conversions: readonly Conversion[], { rc, value, seq }: LockReply): void {
    const accepted = conversions.length > 1 ? value : Number(rc === lockStatus.OK);
    for (const [at, conversion] of conversions.entries()) {
      if (at < accepted) conversion.accepted = seq;
      else if (at === accepted && rc !== lockStatus.OK) conversion.lock.refuse(conversion, rc);
      else conversion.lock.withdraw(conversion);
    }
    this.#modes.clear();
    const last = conversions[accepted - 1];
    if (last === undefined || rc !== lockStatus.OK) return;
    this.#waiting = last;
    if (this.#signal?.aborted) last.lock.cancel();
    // Behind this one's `#granted`, if it was granted at once.
    last.grant.promise.then(
      () => {
        this.#waiting = null;
        if (!this.#finished) this.#next();
      },
      () => {},
    );
  }

  /** Notifications go on behind it, or behind whoever waits for the whole. */
  #granted({ seen }: Conversion, grant: Grant): void {
    this.#grants.push(grant);
    if (grant.status === "granted" && this.#grants.length < this.#steps.length) {
      seen.resolve();
    } else {
      this.#finish();
      const go = (): void => seen.resolve();
      this.#outcome.promise.then(go, go);
    }
  }

  #finish(): void {
    this.#finished = true;
    this.#signal?.removeEventListener("abort", this.#onAbort);
    this.#outcome.resolve(this.#grants);
  }

  #fail(error: unknown): void {
    this.#finished = true;
    this.#signal?.removeEventListener("abort", this.#onAbort);
    this.#outcome.reject(error);
  }
}

/** One conversion needs no batch. */
function callOf(conversions: readonly Conversion[]): BareCall {
  const [only] = conversions;
  if (only === undefined || conversions.length > 1) return { op: "batch", steps: conversions.map(({ step }) => step) };
  const call = { op: "convert", ...only.step } as const;
  only.step = call;
  return call;
}
