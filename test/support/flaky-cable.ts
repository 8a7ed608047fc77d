import { MdError } from "../../src/base/md-error.ts";
import type { LockCall, LockReply, LockspaceId } from "../../src/dlm/lock-call.ts";
import type { LockMaster } from "../../src/dlm/lock-master.ts";
import type { Clock } from "../../src/env/clock.ts";
import { Cable } from "./cable.ts";
import type { SeededRandom } from "./seeded-random.ts";

const PATIENCE = 60;

/** A way to a lock server on which calls are slow, late or doubled: what arrives may be older than what arrived before. */
export class FlakyCable extends Cable {
  readonly #clock: Clock;
  readonly #random: SeededRandom;

  constructor(server: LockMaster, clock: Clock, random: SeededRandom) {
    super(server);
    this.#clock = clock;
    this.#random = random;
  }

  override async call(lockspace: LockspaceId, call: LockCall): Promise<LockReply> {
    const roll = this.#random.next();
    if (roll < 0.03) {
      // It arrives when its sender has long given it up.
      this.#clock.after(PATIENCE + this.#random.below(400), () => void super.call(lockspace, call).catch(() => {}));
      await this.#sleep(PATIENCE);
      throw new MdError("E_LOCK_SERVICE_LOST", "no answer");
    }
    if (roll < 0.06) await super.call(lockspace, call);
    if (roll < 0.3) await this.#sleep(this.#random.below(15));
    const reply = await super.call(lockspace, call);
    if (roll > 0.8) await this.#sleep(this.#random.below(15));
    return reply;
  }

  #sleep(ms: number): Promise<void> {
    return new Promise((resolve) => this.#clock.after(ms, resolve));
  }
}
