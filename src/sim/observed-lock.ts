import { type LockMode, lockModes } from "../dlm/lock-mode.ts";
import type { Grant, Lock, Lockspace, OpenOptions } from "../dlm/lockspace.ts";
import { lvbTransfer } from "../dlm/lvb-transfer.ts";
import type { OfLock } from "./sim-lock-event.ts";
import type { World } from "./world.ts";

/** Text of a value block, without the padding. */
const textOf = (lvb: Uint8Array): string => new TextDecoder().decode(lvb).replace(/\0+$/, "");

const numberOf = (mode: LockMode): number => lockModes.indexOf(mode);

/** Tells the checkers what one lock's owner does and hears. */
class LockWitness {
  readonly #world: World;
  readonly #about: OfLock;
  readonly #hasValue: boolean;

  constructor(world: World, about: OfLock, hasValue: boolean) {
    this.#world = world;
    this.#about = about;
    this.#hasValue = hasValue;
  }

  /** Returns what is to be called with the outcome. */
  asked(from: LockMode, to: LockMode, lvb: Uint8Array | undefined): (grant: Grant | null) => void {
    const transfer = this.#hasValue ? lvbTransfer(numberOf(from), numberOf(to)) : "-";
    const wrote = transfer === "W" && lvb !== undefined ? textOf(lvb) : null;
    const reads = transfer === "R";
    this.#world.emit({ type: "lock_asked", ...this.#about, from, to, wrote, reads });
    return (grant) => {
      const { status, mode, lvb: value, lvbValid: valid } = grant ?? { ...lost, mode: from };
      const read = reads && status === "granted" ? (value === null ? "" : textOf(value)) : null;
      this.#world.emit({ type: "lock_done", ...this.#about, status, mode, read, valid });
    };
  }

  closed(): void {
    this.#world.emit({ type: "lock_closed", ...this.#about });
  }
}

const lost = { status: "lost", lvb: null, lvbValid: true } as const;

/** Opens a lock and has the checkers listen to everything that its owner does with it and hears of it. */
export async function openObserved(
  world: World,
  life: string,
  lockspace: Lockspace,
  resource: string,
  options: OpenOptions,
): Promise<Lock> {
  const about = { life, lock: world.nextId(), resource };
  const { onBast } = options;
  const heard = (wanted: LockMode): void => {
    world.emit({ type: "lock_bast", ...about, wanted });
    onBast?.(wanted);
  };
  const lock = await lockspace.open(resource, onBast === undefined ? options : { ...options, onBast: heard });
  world.emit({ type: "lock_opened", ...about, bast: onBast !== undefined });
  const witness = new LockWitness(world, about, options.lvb);
  return {
    resource,
    get mode() {
      return lock.mode;
    },
    async convert(mode, more = {}) {
      const done = witness.asked(lock.mode, mode, more.lvb);
      try {
        const grant = await lock.convert(mode, more);
        done(grant);
        return grant;
      } catch (error) {
        done(null);
        throw error;
      }
    },
    close() {
      witness.closed();
      return lock.close();
    },
  };
}
