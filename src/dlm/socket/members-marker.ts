import { readFileSync, rmSync, writeFileSync } from "node:fs";

/**
 * A file beside the socket that exists while the lock server has members. A server that finds it at its start knows
 * that its predecessor died with members, and for how long (their lease) these may still write.
 */
export class MembersMarker {
  readonly #path: string;
  readonly #boot = readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  #leaseMs = 0;

  constructor(path: string) {
    this.#path = path;
  }

  /** The longest lease of members that a predecessor left behind, in milliseconds; 0: there are none. */
  left(): number {
    try {
      const [boot, lease] = readFileSync(this.#path, "utf8").trim().split(" ");
      // After a reboot nobody of then runs any more.
      if (boot === this.#boot) this.#leaseMs = Math.max(0, Number(lease) || 0);
    } catch {
      // there is none
    }
    return this.#leaseMs;
  }

  /** Somebody is about to join; must be noted before the answer is sent. */
  joined(leaseMs: number): void {
    if (leaseMs <= this.#leaseMs) return;
    this.#leaseMs = leaseMs;
    writeFileSync(this.#path, `${this.#boot} ${leaseMs}\n`, { mode: 0o600 });
  }

  /** Nobody is a member of anything. */
  empty(): void {
    if (this.#leaseMs === 0) return;
    this.#leaseMs = 0;
    rmSync(this.#path, { force: true });
  }
}
