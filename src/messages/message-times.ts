import { MdError } from "../base/md-error.ts";
import type { SlotNumber } from "../base/units.ts";
import type { Lockspace } from "../dlm/lockspace.ts";
import type { Timer } from "../env/clock.ts";
import type { Env } from "../env/env.ts";
import type { ClusterMessageType } from "./message.ts";

/** How long the steps of a message of ours took, in milliseconds. */
export interface MessageTiming {
  readonly type: ClusterMessageType;
  /** `Clock.wall` when all had acknowledged. */
  readonly at: number;
  /** The wait for the token; null: it was said under one that was held already. */
  readonly tokenMs: number | null;
  /** The wait for `message`; null: it came with the token. */
  readonly messageMs: number | null;
  /** From publishing until all had acknowledged. */
  readonly ackMs: number;
  /** Who had not acknowledged when that took long, and for how long at least; nobody if it did not. */
  readonly slow: readonly { readonly slot: SlotNumber; readonly ms: number }[];
}

const KEPT = 16;
/** Who has not acknowledged by then is looked for, and again after twice that, and so on: a dump of the locks each time. */
const SLOW_MS = 100;

/** Takes the time of each step of the messages that this node says, and finds out who keeps it waiting. */
export class MessageTimes {
  readonly #env: Env;
  readonly #lockspace: Pick<Lockspace, "slot" | "dump">;
  readonly #last: MessageTiming[] = [];
  #asked = 0;
  #tokenMs: number | null = null;
  #messageMs: number | null = null;
  #since = 0;
  #slow = new Map<SlotNumber, number>();
  #timer: Timer | null = null;

  constructor(env: Env, lockspace: Pick<Lockspace, "slot" | "dump">) {
    this.#env = env;
    this.#lockspace = lockspace;
  }

  /** The newest is the last one. */
  get last(): readonly MessageTiming[] {
    return [...this.#last];
  }

  tokenAsked(): void {
    this.#asked = this.#env.clock.now();
  }

  tokenHeld(): void {
    this.#tokenMs = this.#env.clock.now() - this.#asked;
  }

  /** `armed`: `message` is ours already. */
  beginning(armed: boolean): void {
    this.#messageMs = armed ? null : 0;
    this.#since = this.#env.clock.now();
  }

  /** It goes out: from now on the others are waited for. */
  published(): void {
    const now = this.#env.clock.now();
    if (this.#messageMs !== null) this.#messageMs = now - this.#since;
    this.#since = now;
    this.#slow = new Map();
    this.#lookAfter(SLOW_MS);
  }

  acknowledged(type: ClusterMessageType): void {
    this.stop();
    const { clock } = this.#env;
    const slow = [...this.#slow].map(([slot, ms]) => ({ slot, ms }));
    const [tokenMs, messageMs, ackMs] = [this.#tokenMs, this.#messageMs, clock.now() - this.#since];
    this.#last.push({ type, at: clock.wall(), tokenMs, messageMs, ackMs, slow });
    if (this.#last.length > KEPT) this.#last.shift();
    this.#tokenMs = null;
  }

  /** Nobody is waited for any more. */
  stop(): void {
    this.#timer?.cancel();
    this.#timer = null;
  }

  #lookAfter(ms: number): void {
    const timer = this.#env.clock.after(ms, () => void this.#look(timer, ms));
    this.#timer = timer;
  }

  async #look(timer: Timer, ms: number): Promise<void> {
    const waited = this.#env.clock.now() - this.#since;
    try {
      const { resources } = await this.#lockspace.dump();
      // The answer may have come when the next message is on its way.
      if (this.#timer !== timer) return;
      // Who still holds `ack` has not finished with the message.
      const ack = resources.find(({ name }) => name === "ack");
      for (const { slot, mode } of ack?.granted ?? []) {
        if (slot !== this.#lockspace.slot && mode === "CR") this.#slow.set(slot, waited);
      }
    } catch (error) {
      // The lock server does not answer: nothing is known.
      if (!(error instanceof MdError)) throw error;
    }
    if (this.#timer === timer) this.#lookAfter(2 * ms);
  }
}
