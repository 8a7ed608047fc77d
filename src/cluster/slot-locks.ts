import { assert } from "../base/assert.ts";
import { type Deferred, deferred } from "../base/deferred.ts";
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
 * later joiners what the owner resyncs; an owner that gives the lock back leaves "unknown" behind. Within this node, too,
 * a slot is one part's at a time, from `take` to `release`.
 */
export class SlotLocks {
  readonly #lockspace: Lockspace;
  readonly #locks = new Map<SlotNumber, Promise<GuardedLock>>();
  readonly #waits = new Map<SlotNumber, Set<AbortController>>();
  /** Slots that some part of this node has, or asks for: resolved when it is done with it. */
  readonly #held = new Map<SlotNumber, Deferred<void>>();
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

  /** Waits for the slot, also for another part of this node that has it; false if `stopWaiting` ended it. */
  async take(slot: SlotNumber): Promise<boolean> {
    // From now on `stopWaiting` is about this wait, though others may use the lock before it begins.
    const wait = new AbortController();
    const waits = this.#waits.get(slot) ?? new Set();
    this.#waits.set(slot, waits.add(wait));
    const { signal } = wait;
    const ended = new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve()));
    try {
      for (let held = this.#held.get(slot); held !== undefined; held = this.#held.get(slot)) {
        await Promise.race([held.promise, ended]);
        if (signal.aborted) return false;
      }
      return await this.#hold(slot, async (convert) => {
        if (this.#closed || signal.aborted) return false;
        return (await convert("PW", { signal })).status === "granted";
      });
    } finally {
      waits.delete(wait);
    }
  }

  /** False if somebody has it, be it another part of this node. */
  async tryTake(slot: SlotNumber): Promise<boolean> {
    if (this.#held.has(slot)) return false;
    return this.#hold(slot, async (convert) => (await convert("PW", { noqueue: true })).status === "granted");
  }

  /** Nobody waits for this slot here any more: it has a new owner. */
  stopWaiting(slot: SlotNumber): void {
    for (const wait of this.#waits.get(slot) ?? []) wait.abort();
  }

  /** For whoever took it. */
  async release(slot: SlotNumber): Promise<void> {
    try {
      await this.#use(slot, async (convert, lock) => {
        if (lock.mode === "PW") await convert("NL", { lvb: encodeResyncWindow(unknownWindow) });
      });
    } finally {
      this.#letGo(slot);
    }
  }

  /** What the owner of the slot tells; the worst if it does not tell. */
  async read(slot: SlotNumber): Promise<ResyncWindow> {
    const lvb = await this.#readValue(slot);
    return lvb === null ? unknownWindow : (decodeResyncWindow(lvb) ?? unknownWindow);
  }

  /** What the owner of the slot speaks; null if there is none, or it has not said so yet. */
  async readSpeech(slot: SlotNumber): Promise<Speech | null> {
    const lvb = await this.#readValue(slot);
    return lvb === null ? null : decodeSpeech(lvb);
  }

  /** Gives all of them up. Waits end. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const slot of this.#waits.keys()) this.stopWaiting(slot);
    await Promise.all([...this.#locks.values()].map(async (lock) => (await lock).close()));
  }

  /** What is in the value block; null: nothing that counts. */
  #readValue(slot: SlotNumber): Promise<Uint8Array | null> {
    return this.#use(slot, async (convert, lock) => {
      // While we have it nobody vouches for the slot; and to read it would be to give it back in the middle.
      if (lock.mode === "PW") return null;
      const { lvb, lvbValid, status } = await convert("CR");
      await convert("NL");
      return status === "granted" && lvbValid ? lvb : null;
    });
  }

  /** Ours if `take` gets it, until `release`. */
  async #hold(slot: SlotNumber, take: (convert: Lock["convert"]) => Promise<boolean>): Promise<boolean> {
    this.#held.set(slot, deferred<void>());
    let taken = false;
    try {
      taken = await this.#use(slot, take);
      return taken;
    } finally {
      if (!taken) this.#letGo(slot);
    }
  }

  #letGo(slot: SlotNumber): void {
    this.#held.get(slot)?.resolve();
    this.#held.delete(slot);
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
