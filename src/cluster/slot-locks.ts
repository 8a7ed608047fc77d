import { assert } from "../base/assert.ts";
import type { SlotNumber } from "../base/units.ts";
import type { Lock, Lockspace } from "../dlm/lockspace.ts";
import type { Speech } from "../messages/protocol-version.ts";
import {
  decodeResyncWindow,
  decodeSpeech,
  encodeResyncWindow,
  type ResyncWindow,
} from "../messages/resync-window-codec.ts";
import { GuardedLock } from "./guarded-lock.ts";

/** What must be assumed of a slot that nobody vouches for: no owner yet, or one that died while it wrote. */
const unknownWindow: ResyncWindow = { range: null, needsResync: true };

/**
 * The locks `bitmap0000`, `bitmap0001`, ...: who holds one in PW owns that slot's bitmap on disk. The value block tells
 * later joiners what the owner resyncs; an owner that gives the lock back leaves "unknown" behind.
 */
export class SlotLocks {
  readonly #lockspace: Lockspace;
  readonly #locks = new Map<SlotNumber, Promise<GuardedLock>>();
  readonly #waits = new Map<SlotNumber, Set<AbortController>>();
  #closed = false;
  #speech: Speech | null = null;

  constructor(lockspace: Lockspace) {
    this.#lockspace = lockspace;
  }

  /** Waits until whoever recovers our slot is done with it. */
  takeOwn(): Promise<boolean> {
    return this.take(this.#lockspace.slot);
  }

  /** Of our own slot: what we speak, from now on beside each window. Nothing is known of our bitmap yet. */
  async speak(speech: Speech): Promise<void> {
    this.#speech = speech;
    await this.publish(unknownWindow);
  }

  /** Have all nodes agreed on this feature (of `protocolFeatures`)? */
  agreedOn(feature: number): boolean {
    return ((this.#speech?.spoken.features ?? 0) & feature) !== 0;
  }

  /** Of our own slot: replaces what the others read, without giving the lock up. */
  async publish(window: ResyncWindow): Promise<void> {
    await this.#use(this.#lockspace.slot, async (convert, lock) => {
      assert(lock.mode === "PW", "only the owner of a slot speaks for it");
      await convert("PW", { lvb: encodeResyncWindow(window, this.#speech) });
    });
  }

  /** Waits for the slot; false if `stopWaiting` ended it. */
  async take(slot: SlotNumber): Promise<boolean> {
    // From now on `stopWaiting` is about this wait, though others may use the lock before it begins.
    const wait = new AbortController();
    const waits = this.#waits.get(slot) ?? new Set();
    this.#waits.set(slot, waits.add(wait));
    try {
      return await this.#use(slot, async (convert) => {
        if (this.#closed || wait.signal.aborted) return false;
        const { status } = await convert("PW", { signal: wait.signal });
        return status === "granted";
      });
    } finally {
      waits.delete(wait);
    }
  }

  /** False if somebody has it. */
  tryTake(slot: SlotNumber): Promise<boolean> {
    return this.#use(slot, async (convert) => (await convert("PW", { noqueue: true })).status === "granted");
  }

  /** Nobody waits for this slot here any more: it has a new owner. */
  stopWaiting(slot: SlotNumber): void {
    for (const wait of this.#waits.get(slot) ?? []) wait.abort();
  }

  async release(slot: SlotNumber): Promise<void> {
    await this.#use(slot, async (convert, lock) => {
      if (lock.mode === "PW") await convert("NL", { lvb: encodeResyncWindow(unknownWindow) });
    });
  }

  /** What the owner of the slot tells; the worst if it does not tell. */
  read(slot: SlotNumber): Promise<ResyncWindow> {
    return this.#use(slot, async (convert) => {
      const { lvb, lvbValid, status } = await convert("CR");
      await convert("NL");
      if (status !== "granted" || lvb === null || !lvbValid) return unknownWindow;
      return decodeResyncWindow(lvb) ?? unknownWindow;
    });
  }

  /** What the owner of the slot speaks; null if there is none, or it has not said so yet. */
  readSpeech(slot: SlotNumber): Promise<Speech | null> {
    return this.#use(slot, async (convert) => {
      const { lvb, lvbValid, status } = await convert("CR");
      await convert("NL");
      return status !== "granted" || lvb === null || !lvbValid ? null : decodeSpeech(lvb);
    });
  }

  /** Gives all of them up. Waits end. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const slot of this.#waits.keys()) this.stopWaiting(slot);
    await Promise.all([...this.#locks.values()].map(async (lock) => (await lock).close()));
  }

  async #use<T>(slot: SlotNumber, use: (convert: Lock["convert"], lock: GuardedLock) => Promise<T>): Promise<T> {
    let opening = this.#locks.get(slot);
    if (opening === undefined) {
      opening = GuardedLock.open(this.#lockspace, `bitmap${String(slot).padStart(4, "0")}`, true);
      this.#locks.set(slot, opening);
    }
    const lock = await opening;
    return lock.inTurn((convert) => use(convert, lock));
  }
}
