import type { FenceAttempt, FenceOutcome, Fencer, FenceVictim } from "../../src/dlm/fencer.ts";

/** hang: until it is given up. deaf: not even then. */
type Answer = FenceOutcome | "reject" | "hang" | "deaf";

/** A fencing method that is told what to answer, or to be silent. */
export class FakeFencer implements Fencer {
  readonly about = "command /bin/fence";
  readonly timeoutMs: number = 2000;
  readonly victims: FenceVictim[] = [];
  readonly attempts: FenceAttempt[] = [];
  answers: Answer[] = [];
  /** Attempts that go on. */
  running = 0;
  /** The most that ever went on at once. */
  most = 0;

  fence(victim: FenceVictim, attempt: FenceAttempt): Promise<FenceOutcome> {
    this.victims.push(victim);
    this.attempts.push(attempt);
    const answer = this.answers.shift() ?? { ok: true, evidence: "off" };
    if (answer === "deaf") return new Promise(() => {});
    if (answer === "hang") return this.#untilGivenUp(attempt.signal);
    return answer === "reject" ? Promise.reject(new Error("no such plug")) : Promise.resolve(answer);
  }

  #untilGivenUp(signal: AbortSignal): Promise<FenceOutcome> {
    this.running += 1;
    this.most = Math.max(this.most, this.running);
    return new Promise((resolve) => {
      const end = (): void => {
        this.running -= 1;
        resolve({ ok: false, evidence: "given up" });
      };
      signal.addEventListener("abort", end);
    });
  }
}
