import { MdError } from "../base/md-error.ts";
import type { LockMode } from "../dlm/lock-mode.ts";
import type { ConvertOptions, Grant, Lock, Lockspace } from "../dlm/lockspace.ts";

/**
 * A lock that several parts of a node use: conversions take turns, and once it is closed, by a node that leaves while
 * some part of it is still at work, they reject with E_NOT_JOINED.
 */
export class GuardedLock {
  readonly #lock: Lock;
  #turn: Promise<unknown> = Promise.resolve();
  #closed = false;

  static async open(lockspace: Lockspace, resource: string, lvb: boolean): Promise<GuardedLock> {
    return new GuardedLock(await lockspace.open(resource, { lvb }));
  }

  private constructor(lock: Lock) {
    this.#lock = lock;
  }

  get mode(): LockMode {
    return this.#lock.mode;
  }

  /** Runs `use` when nobody else uses the lock; `use` may convert as often as it likes. */
  inTurn<T>(use: (convert: Lock["convert"]) => Promise<T>): Promise<T> {
    const mine = this.#turn.then(() => use((mode, options) => this.#convert(mode, options)));
    this.#turn = mine.catch(() => {});
    return mine;
  }

  convert(mode: LockMode, options?: ConvertOptions): Promise<Grant> {
    return this.inTurn((convert) => convert(mode, options));
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#lock.close();
  }

  #convert(mode: LockMode, options?: ConvertOptions): Promise<Grant> {
    if (this.#closed) return Promise.reject(new MdError("E_NOT_JOINED", "this node is leaving the array"));
    return this.#lock.convert(mode, options);
  }
}
