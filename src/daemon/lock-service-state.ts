import type { LockMaster } from "../dlm/lock-master.ts";
import type { Env } from "../env/env.ts";

interface LockServiceStateOptions {
  readonly master: LockMaster;
  readonly env: Env;
  /** Without credentials. */
  readonly address: () => string;
  /** Until when this node may write to the arrays that it has assembled (`Clock.now`); null: there are none. */
  readonly writeUntil: () => number | null;
  readonly tell: (severity: "info" | "warn" | "error", event: string, text: string) => void;
}

/** Does the lock service answer, and since when not; told to people once for each change. */
export class LockServiceState {
  readonly #options: LockServiceStateOptions;
  #lostAt: number | null = null;
  /** That the leases have run out was told. */
  #quorumLost = false;

  constructor(options: LockServiceStateOptions) {
    this.#options = options;
    options.master.onReachable((reachable) => this.#changed(reachable));
  }

  /** `Clock.now` when it stopped answering; null: it answers. */
  get lostAt(): number | null {
    return this.#lostAt;
  }

  #changed(reachable: boolean): void {
    const { env, address, tell } = this.#options;
    if (reachable === (this.#lostAt === null)) return;
    if (reachable) {
      const seconds = ((env.clock.now() - (this.#lostAt ?? 0)) / 1000).toFixed(1);
      this.#lostAt = null;
      this.#quorumLost = false;
      tell("info", "LOCKSERVICEBACK", `lock service ${address()} answers again, after ${seconds} s`);
      return;
    }
    this.#lostAt = env.clock.now();
    const until = this.#options.writeUntil();
    const writes =
      until === null ? "" : `; writes wait in ${(Math.max(0, until - env.clock.now()) / 1000).toFixed(1)} s`;
    tell("error", "LOCKSERVICELOST", `lock service ${address()} does not answer${writes}`);
    this.#watchLease();
  }

  /** Tells when the leases have run out without it. */
  #watchLease(): void {
    const { env, writeUntil, tell } = this.#options;
    if (this.#lostAt === null || this.#quorumLost) return;
    const until = writeUntil();
    if (until === null) return;
    const left = until - env.clock.now();
    if (left > 0) {
      env.clock.after(left, () => this.#watchLease());
      return;
    }
    this.#quorumLost = true;
    tell("error", "QUORUMLOST", "the leases of this node have run out: writes to clustered arrays wait");
  }
}
