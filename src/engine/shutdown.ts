import type { EngineParts } from "./engine-parts.ts";

const ESHUTDOWN = 108;

/**
 * The orderly end, in steps: finish what can be finished and refuse what waits for others, drain front ends and members,
 * clear the bits that may be cleared, flush, close. Without a lease nothing is written any more: the bits stay, and
 * whoever takes the slot over finds them.
 */
export class Shutdown {
  readonly #options: EngineParts;
  #step: "draining" | "clearing" | "flushing" = "draining";

  constructor(options: EngineParts) {
    this.#options = options;
    options.core.stopping = true;
    options.core.quiesced = false;
    options.copies.abort();
    options.rewrites.abort();
  }

  /** Once a turn. True: nothing is left, the members are closed. */
  advance(leaseHeld: boolean): boolean {
    const { core, bitmap } = this.#options;
    if (this.#step === "draining") {
      if (!this.#drain(leaseHeld)) return false;
      core.closed = true;
      this.#step = "clearing";
      bitmap.forceRounds();
    }
    if (this.#step === "clearing") {
      const mayWrite = leaseHeld && !core.config.readOnly && core.members.inSync > 0;
      if (mayWrite && !bitmap.isSettled) return false;
      if (core.members.operations > 0) return false;
      this.#step = "flushing";
      if (!core.config.readOnly) bitmap.flushForGood();
    }
    if (core.members.operations > 0) return false;
    core.members.closeAll();
    return true;
  }

  #drain(leaseHeld: boolean): boolean {
    const { core, failures, writes, copies, rewrites, detach } = this.#options;
    writes.retrySuspended();
    writes.takeBack(!leaseHeld || core.members.blocked > 0);
    failures.abandonHeld(ESHUTDOWN);
    if (!leaseHeld) writes.abandonAgain(true);
    const detached = detach(false);
    return detached && core.table.used === 0 && copies.isIdle && rewrites.isIdle && core.members.operations === 0;
  }
}
