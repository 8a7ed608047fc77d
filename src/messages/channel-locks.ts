import type { Grant, Lock, Lockspace } from "../dlm/lockspace.ts";
import type { ChannelLock, ConvertStep, StepResult } from "./channel-state.ts";
import { decodeFrame, decodeSettled, encodeFrame, encodeSettled } from "./message-codec.ts";

/** The three locks of a channel at the lock server: carries out what the pure machine wants converted. */
export class ChannelLocks {
  readonly #lockspace: Lockspace;
  readonly #locks: Readonly<Record<ChannelLock, Lock>>;
  readonly #givingBack = new Set<Promise<unknown>>();

  /** Opens them, in NL. `onAsked`: somebody waits for `ack`. */
  static async open(lockspace: Lockspace, onAsked: (wanted: Lock["mode"]) => void): Promise<ChannelLocks> {
    const token = await lockspace.open("token", { lvb: true });
    const message = await lockspace.open("message", { lvb: true });
    const ack = await lockspace.open("ack", { lvb: false, onBast: onAsked });
    return new ChannelLocks(lockspace, { token, message, ack });
  }

  private constructor(lockspace: Lockspace, locks: Readonly<Record<ChannelLock, Lock>>) {
    this.#lockspace = lockspace;
    this.#locks = locks;
  }

  /** Results in the order of the steps; one that was not granted is the last. `signal` ends a wait. */
  async convert(steps: readonly ConvertStep[], signal: AbortSignal | undefined): Promise<readonly StepResult[]> {
    const conversions = steps.map(({ lock, frame, settled, ...step }) => ({
      ...step,
      lock: this.#locks[lock],
      ...(frame === undefined ? {} : { lvb: encodeFrame(frame) }),
      ...(settled === undefined ? {} : { lvb: encodeSettled(settled) }),
    }));
    const converting = this.#lockspace.convertAll(conversions, signal);
    if (steps.every(givesBack)) this.#remember(converting);
    return (await converting).map((grant, i) => resultOf(steps[i]?.lock, grant));
  }

  /** Gives them up. What is being given back in several steps is not torn apart. */
  async close(): Promise<void> {
    await Promise.all(this.#givingBack);
    await Promise.all(Object.values(this.#locks).map((lock) => lock.close()));
  }

  #remember(converting: Promise<unknown>): void {
    const done: Promise<unknown> = converting.then(
      () => this.#givingBack.delete(done),
      () => this.#givingBack.delete(done),
    );
    this.#givingBack.add(done);
  }
}

/** To what a node at rest holds: nobody has to be waited for. */
const givesBack = ({ lock, mode }: ConvertStep): boolean => mode === (lock === "ack" ? "CR" : "NL");

function resultOf(lock: ChannelLock | undefined, { mode, lvb, lvbValid }: Grant): StepResult {
  if (lock === "token") return { mode, value: null, settled: lvb === null ? null : decodeSettled(lvb) };
  return { mode, value: lvb === null ? null : { valid: lvbValid, frame: decodeFrame(lvb) } };
}
