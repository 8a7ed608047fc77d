import { MdError } from "../base/md-error.ts";
import type { SlotNumber } from "../base/units.ts";
import type { Lock, Lockspace } from "../dlm/lockspace.ts";
import type { MessageId } from "./message.ts";
import { decodeRefusal, encodeRefusal, type Refusal } from "./refusal-codec.ts";

interface RefusalBy extends Refusal {
  readonly node: string;
}

/**
 * How a sender learns that a node has acknowledged its message without carrying it out: in the value block of that
 * node's `resultNNNN`, written before `ack` is let go of (docs/decisions/0021-results-and-versions.md). Nobody opens
 * one before there is something to say or to ask, and messages that cannot be refused ask nothing.
 */
export class ResultBoard {
  readonly #lockspace: Lockspace;
  readonly #locks = new Map<SlotNumber, Promise<Lock>>();

  constructor(lockspace: Lockspace) {
    this.#lockspace = lockspace;
  }

  /** We do not carry this message out. Resolves when its sender can read it. */
  async refuse({ from, sequence }: MessageId, { code, message }: MdError): Promise<void> {
    const lock = await this.#open(this.#lockspace.slot);
    // Kept from the first time on: who holds it in PW vouches for the value when the lock server has forgotten it.
    if (lock.mode !== "PW") await lock.convert("PW");
    await lock.convert("PW", { lvb: encodeRefusal({ from, sequence, code, why: message }) });
  }

  /**
   * For the sender, when all have acknowledged and while it has the token still: null if nobody refused; else the first
   * refusal, with all of them in `details.refusals`. `what`: the message's name, for people.
   */
  async refusalOf(id: MessageId, what: string): Promise<MdError | null> {
    const refusals = await this.#read(id);
    const [first] = refusals;
    if (first === undefined) return null;
    const { node, code, why } = first;
    return new MdError(code, `${node} refuses ${what}: ${why === "" ? code : why}`, { details: { refusals } });
  }

  async close(): Promise<void> {
    await Promise.all([...this.#locks.values()].map(async (lock) => (await lock).close()));
  }

  async #read({ from, sequence }: MessageId): Promise<readonly RefusalBy[]> {
    const others = this.#lockspace.members.filter(({ slot }) => slot !== this.#lockspace.slot);
    const locks = await Promise.all(others.map(({ slot }) => this.#open(slot)));
    const grants = await this.#lockspace.convertAll(
      locks.flatMap((lock) => [{ lock, mode: "CR" } as const, { lock, mode: "NL" } as const]),
    );
    return others.flatMap(({ node }, i): RefusalBy[] => {
      // One that is not valid was written by a life that is over.
      const { lvb = null, lvbValid = false } = grants[2 * i] ?? {};
      const refusal = lvb === null || !lvbValid ? null : decodeRefusal(lvb);
      return refusal?.from === from && refusal.sequence === sequence ? [{ ...refusal, node }] : [];
    });
  }

  #open(slot: SlotNumber): Promise<Lock> {
    const known = this.#locks.get(slot);
    if (known !== undefined) return known;
    const opening = this.#lockspace.open(`result${String(slot).padStart(4, "0")}`, { lvb: true });
    this.#locks.set(slot, opening);
    return opening;
  }
}
