import { assert } from "../base/assert.ts";
import type { SlotNumber } from "../base/units.ts";
import type { Lock, Lockspace } from "../dlm/lockspace.ts";
import { decodeResyncWindow, encodeResyncWindow, type ResyncWindow } from "../messages/resync-window-codec.ts";

/** What must be assumed of a slot that nobody vouches for: no owner yet, or one that died while it wrote. */
const unknownWindow: ResyncWindow = { range: null, needsResync: true };

/**
 * The locks `bitmap0000`, `bitmap0001`, ...: who holds one in PW owns that slot's bitmap on disk. The value block tells
 * later joiners what the owner resyncs; an owner that gives the lock back leaves "unknown" behind.
 */
export class SlotLocks {
  readonly #lockspace: Lockspace;
  readonly #locks = new Map<SlotNumber, Promise<Lock>>();
  /** One conversion of a lock at a time. */
  readonly #queues = new Map<SlotNumber, Promise<unknown>>();
  readonly #waits = new Map<SlotNumber, AbortController>();
  #closed = false;

  constructor(lockspace: Lockspace) {
    this.#lockspace = lockspace;
  }

  /** Waits until whoever recovers our slot is done with it. */
  takeOwn(): Promise<boolean> {
    return this.take(this.#lockspace.slot);
  }

  /** Of our own slot: replaces what the others read, without giving the lock up. */
  async publish(window: ResyncWindow): Promise<void> {
    await this.#inTurn(this.#lockspace.slot, async (lock) => {
      assert(lock.mode === "PW", "only the owner of a slot speaks for it");
      await lock.convert("PW", { lvb: encodeResyncWindow(window) });
    });
  }

  /** Waits for the slot; false if `stopWaiting` ended it. */
  take(slot: SlotNumber): Promise<boolean> {
    return this.#inTurn(slot, async (lock) => {
      if (this.#closed) return false;
      const wait = new AbortController();
      this.#waits.set(slot, wait);
      const { status } = await lock.convert("PW", { signal: wait.signal });
      this.#waits.delete(slot);
      return status === "granted";
    });
  }

  /** False if somebody has it. */
  tryTake(slot: SlotNumber): Promise<boolean> {
    return this.#inTurn(slot, async (lock) => (await lock.convert("PW", { noqueue: true })).status === "granted");
  }

  /** Nobody waits for this slot here any more: it has a new owner. */
  stopWaiting(slot: SlotNumber): void {
    this.#waits.get(slot)?.abort();
  }

  async release(slot: SlotNumber): Promise<void> {
    await this.#inTurn(slot, async (lock) => {
      if (lock.mode === "PW") await lock.convert("NL", { lvb: encodeResyncWindow(unknownWindow) });
    });
  }

  /** What the owner of the slot tells; the worst if it does not tell. */
  read(slot: SlotNumber): Promise<ResyncWindow> {
    return this.#inTurn(slot, async (lock) => {
      const { lvb, lvbValid, status } = await lock.convert("CR");
      await lock.convert("NL");
      if (status !== "granted" || lvb === null || !lvbValid) return unknownWindow;
      return decodeResyncWindow(lvb) ?? unknownWindow;
    });
  }

  /** Gives all of them up. Waits end. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const wait of this.#waits.values()) wait.abort();
    await Promise.all([...this.#locks.values()].map(async (lock) => (await lock).close()));
  }

  async #inTurn<T>(slot: SlotNumber, use: (lock: Lock) => Promise<T>): Promise<T> {
    const before = this.#queues.get(slot) ?? Promise.resolve();
    const mine = before.then(
      async () => use(await this.#open(slot)),
      async () => use(await this.#open(slot)),
    );
    this.#queues.set(slot, mine);
    return mine;
  }

  #open(slot: SlotNumber): Promise<Lock> {
    let lock = this.#locks.get(slot);
    if (lock === undefined) {
      lock = this.#lockspace.open(`bitmap${String(slot).padStart(4, "0")}`, { lvb: true });
      this.#locks.set(slot, lock);
    }
    return lock;
  }
}
