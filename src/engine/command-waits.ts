import { MdError } from "../base/md-error.ts";
import type { EngineCore } from "./engine-core.ts";
import type { EngineParts } from "./engine-parts.ts";
import type { EngineAnswer } from "./engine-protocol.ts";

/** Asked once a turn: the answer once there is one. */
export type Progress = (leaseHeld: boolean) => EngineAnswer | null;

export const none: EngineAnswer = { type: "none" };
export const atOnce =
  (answer: EngineAnswer): Progress =>
  () =>
    answer;

/** What commands wait for: pages of the bitmap on the members, and stillness. */
export class CommandWaits {
  readonly #options: EngineParts;
  readonly #core: EngineCore;
  #quiesced = false;
  /** Others that need stillness for a moment. */
  #pauses = 0;

  constructor(options: EngineParts) {
    this.#options = options;
    this.#core = options.core;
  }

  quiesce(quiesced: boolean): void {
    this.#quiesced = quiesced;
    this.#updateQuiesced();
  }

  /** Nothing new is issued until the returned function is called. */
  pause(): () => void {
    this.#pauses++;
    this.#updateQuiesced();
    return () => {
      this.#pauses--;
      this.#updateQuiesced();
    };
  }

  /** Nothing is in flight on any member. */
  get isStill(): boolean {
    return this.#core.members.operations === 0 && this.#options.writes.waitingAgain === 0;
  }

  /** When every page has been written again, on the members that there are now. */
  whenAllWritten(): Progress {
    const { intent } = this.#options.bitmap;
    if (this.#core.config.readOnly) return atOnce(none);
    intent.requireAll();
    return this.whenWritten(
      Array.from({ length: intent.pages }, (_, page) => page),
      false,
    );
  }

  /**
   * When what these pages say now is on the members; `everywhere`: also not missing on one whose failure is not settled
   * (who has to wait for less may be the one that settles it).
   */
  whenWritten(pages: readonly number[], everywhere: boolean): Progress {
    const { intent } = this.#options.bitmap;
    if (this.#core.config.readOnly) return atOnce(none);
    const coveringIn = (those: readonly number[]) =>
      those.map((page) => ({ page, write: this.#options.bitmap.intent.coveringWrite(page) }));
    let current = intent;
    let writes = coveringIn(pages);
    return () => {
      if (current !== this.#options.bitmap.intent) {
        // The bitmap has taken another form, which has all that the old one said, on some page.
        current = this.#options.bitmap.intent;
        writes = coveringIn(Array.from({ length: current.pages }, (_, page) => page));
      }
      for (const { page, write } of writes) {
        const standing = current.standing(page, write);
        if (standing === "failed") throw new MdError("E_IO", "the bitmap cannot be written on the last copy");
        if (standing === "pending" || (standing === "partial" && everywhere)) return null;
      }
      return none;
    };
  }

  #updateQuiesced(): void {
    this.#core.quiesced = !this.#core.stopping && (this.#quiesced || this.#pauses > 0);
  }
}
