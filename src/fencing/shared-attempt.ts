import type { FenceAttempt, FenceOutcome } from "../dlm/fencer.ts";

const GIVEN_UP: FenceOutcome = { ok: false, evidence: "it was given up" };

/** One run of a method for several attempts that want the same: it is over when all of them are. */
export class SharedAttempt implements FenceAttempt {
  readonly #attempts = new Set<FenceAttempt>();
  readonly #stop = new AbortController();

  get signal(): AbortSignal {
    return this.#stop.signal;
  }

  /** One that knows better is enough to spare the machine: who still wants it tries again, and by then knows as well. */
  async isWanted(): Promise<boolean> {
    const said = await Promise.all([...this.#attempts].map((attempt) => attempt.isWanted()));
    return !this.signal.aborted && said.every((isWanted) => isWanted);
  }

  /** Waits for `outcome` of this run, as long as `attempt` lasts. */
  join(attempt: FenceAttempt, outcome: Promise<FenceOutcome>): Promise<FenceOutcome> {
    this.#attempts.add(attempt);
    return new Promise((resolve, reject) => {
      const leave = (): void => {
        this.#attempts.delete(attempt);
        if (this.#attempts.size > 0) resolve(GIVEN_UP);
        // The last one stays until nothing of it happens any more.
        else this.#stop.abort();
      };
      attempt.signal.addEventListener("abort", leave);
      if (attempt.signal.aborted) leave();
      outcome.then(resolve, reject).finally(() => attempt.signal.removeEventListener("abort", leave));
    });
  }
}
