import type { Env } from "../env/env.ts";
import { distrustAfter, type LeaseState, type LeaseTimes, leaseState, stopAfter, suspendTolerance } from "./lease.ts";
import type { LeaseSink } from "./lockspace.ts";

export interface LeaseKeeperOptions {
  readonly lease: LeaseTimes;
  readonly env: Env;
  readonly sink: LeaseSink;
  /** For the log. */
  readonly lockspace: string;
  /** Renewals come in time (true) or do not. */
  readonly onReachable: (reachable: boolean) => void;
  /** Nothing may be written any more, for now: others may be about to declare us dead. */
  readonly onLost: () => void;
}

/** When a renewal was sent. */
export interface RenewalTime {
  readonly at: number;
  /** `Clock.sinceBoot`, which goes on while the host is suspended. */
  readonly sinceBoot: number;
}

const never: RenewalTime = { at: Number.NEGATIVE_INFINITY, sinceBoot: 0 };
const forfeited: RenewalTime = { ...never };

/** Our own lease: what of the renewals counts, and how long it lasts. */
export class LeaseKeeper {
  readonly #options: LeaseKeeperOptions;
  /** The last renewal that counts, and how long it took. */
  #renewed = never;
  #roundTripMs: number | null = null;
  #state: LeaseState = "held";
  #reachable = true;
  #ended = false;

  constructor(options: LeaseKeeperOptions) {
    this.#options = options;
  }

  /** When the last renewal that was acknowledged was sent. */
  get renewedAt(): number {
    return this.#renewed.at;
  }

  get roundTripMs(): number | null {
    return this.#roundTripMs;
  }

  stamp(): RenewalTime {
    const { clock } = this.#options.env;
    return { at: clock.now(), sinceBoot: clock.sinceBoot() };
  }

  /**
   * A renewal that was sent at `sent` was acknowledged now. With `extendOnly` it does not revive a lease that is over:
   * the lock server is still being told who is a member, and somebody who has not reported yet may have declared us dead.
   */
  acknowledged(sent: RenewalTime, extendOnly: boolean): void {
    const { lease, sink, env } = this.#options;
    if (this.#ended || sent.at <= this.#renewed.at || this.#wasSuspendedSince(sent)) return;
    const over = this.#wasSuspendedSince(this.#renewed) || env.clock.now() >= this.#renewed.at + stopAfter(lease);
    if (extendOnly && over) return;
    this.#renewed = sent;
    this.#roundTripMs = env.clock.now() - sent.at;
    sink(sent.at + stopAfter(lease), sent.at + distrustAfter(lease));
    this.look();
  }

  /** Tells when the lease becomes late or is lost, and whether the host was suspended; several times a lease. */
  look(): void {
    const { lease, env, lockspace, sink, onReachable, onLost } = this.#options;
    if (this.#ended || this.#renewed === never) return;
    if (this.#wasSuspendedSince(this.#renewed)) {
      env.log.warn({ evt: "lease.suspend", lockspace }, "this host was suspended: the lease has ended meanwhile");
      this.#renewed = forfeited;
      sink(0, 0);
    }
    const state = leaseState(lease, this.#renewed.at, env.clock.now());
    if (state === this.#state) return;
    this.#state = state;
    const age = this.#renewed === forfeited ? null : Math.round(env.clock.now() - this.#renewed.at);
    env.log.warn({ evt: "lease.state", lockspace, state, age }, `the lease is ${state}`);
    if (state === "lost") onLost();
    if ((state === "held") === this.#reachable) return;
    this.#reachable = state === "held";
    onReachable(this.#reachable);
  }

  /** Nothing may be written any more. */
  end(): void {
    this.#ended = true;
    this.#options.sink(0, 0);
  }

  /** Longer than our clock has noticed: the others' clocks went on. */
  #wasSuspendedSince({ at, sinceBoot }: RenewalTime): boolean {
    const { env, lease } = this.#options;
    // In this order, and the other way round in `stamp`: a thread that stands still in between seems suspended for less.
    const total = env.clock.sinceBoot() - sinceBoot;
    return total - (env.clock.now() - at) > suspendTolerance(lease);
  }
}
