import { Errno } from "../blockdev/errno.ts";
import { RequestOp } from "../blockdev/front-end.ts";
import type { EngineCore } from "./engine-core.ts";
import type { FailurePath } from "./failure-path.ts";
import { NO_ANSWER } from "./member-ops.ts";
import { MemberState } from "./member-table.ts";
import { TAG_MASK, TAG_SHIFT, TagKind } from "./tag.ts";

/** Looks while something is late, in the time that makes it late. */
const LOOKS = 8;

/** What operations that are given up belong to. */
export interface HangParts {
  /** May a leg's read be asked of another copy? */
  readonly mayReadElsewhere: (leg: number) => boolean;
  /** A leg's unit is used no more from now on; `release` is called when it may be. */
  readonly retireUnit: (leg: number) => () => void;
  readonly retireRewrite: () => () => void;
  /** The device in the place has answered all that was given up. */
  readonly answered: (place: number) => void;
  /** Tells the asker. */
  readonly deliver: (tag: number, result: number) => void;
}

/**
 * Members that do not answer. What is late (`slowIoMs`) is read from another copy, where another may be asked. A member that
 * has had an operation for `ioTimeoutMs` is taken out like one whose write has failed (DRBD's disk-timeout; md waits for
 * ever), but for the last copy of anything: for that there is nothing to do but to wait.
 *
 * The device still has what it did not answer, and may carry it out at any time. So memory that such operations use is
 * left alone until they end, and so is the device: it is not opened again as a member (`MemberTable.refuseHung`).
 */
export class HangWatch {
  readonly #core: EngineCore;
  readonly #failures: FailurePath;
  readonly #parts: HangParts;
  /** What is to be done when an operation that was given up has ended. */
  readonly #onEnd = new Map<number, () => void>();
  #lastScan = Number.NEGATIVE_INFINITY;

  constructor(core: EngineCore, failures: FailurePath, parts: HangParts) {
    this.#core = core;
    this.#failures = failures;
    this.#parts = parts;
  }

  /** Once a turn. */
  look(now: number): void {
    if (this.untilLook(now) === 0) this.#scan(now);
  }

  /** Milliseconds; Infinity: nothing is in flight that could be late. */
  untilLook(now: number): number {
    const { ops } = this.#core.members;
    const first = this.#firstMs;
    if (ops.oldest === -1 || first === 0) return Number.POSITIVE_INFINITY;
    const since = ops.sinceOf(ops.oldest);
    const untilFirst = Math.max(0, since + first - now, this.#lastScan + first / LOOKS - now);
    const { ioTimeoutMs } = this.#core.config;
    const hungAt = since + ioTimeoutMs;
    const isWatched = ioTimeoutMs !== 0 && this.#lastScan < hungAt;
    return isWatched ? Math.min(untilFirst, Math.max(0, hungAt - now)) : untilFirst;
  }

  /** The operation had been given up, and its device has answered it now. */
  ended(op: number): void {
    const { members, notify } = this.#core;
    const place = members.ops.placeOf(op);
    const path = members.orphanEnded(op);
    if (path !== null) notify({ type: "memberAnswered", path });
    if (members.orphans[place] === 0) this.#setSlow(place, false);
    this.#onEnd.get(op)?.();
    this.#onEnd.delete(op);
    if (members.orphans[place] === 0) this.#parts.answered(place);
  }

  get #firstMs(): number {
    const { slowIoMs, ioTimeoutMs } = this.#core.config;
    return slowIoMs === 0 || (ioTimeoutMs !== 0 && ioTimeoutMs < slowIoMs) ? ioTimeoutMs : slowIoMs;
  }

  #scan(now: number): void {
    const { members, config, table } = this.#core;
    const { ops } = members;
    const first = this.#firstMs;
    this.#lastScan = now;
    const late = new Set<number>();
    const hung = new Set<number>();
    const elsewhere: number[] = [];
    for (let op = ops.oldest; op !== -1; op = ops.after(op)) {
      const age = now - ops.sinceOf(op);
      if (age < first) break;
      const place = ops.placeOf(op);
      late.add(place);
      if (config.ioTimeoutMs !== 0 && age >= config.ioTimeoutMs) hung.add(place);
      const tag = ops.tagOf(op);
      const isClientRead =
        tag >>> TAG_SHIFT === TagKind.request &&
        table.op[Math.floor((tag & TAG_MASK) / table.width)] === RequestOp.read;
      if (isClientRead) elsewhere.push(op);
    }
    for (let place = 0; place < members.width; place++)
      this.#setSlow(place, late.has(place) || (members.orphans[place] ?? 0) > 0);
    for (const place of hung) this.#giveUpMember(place);
    for (const op of elsewhere) {
      if (ops.isLive(op) && this.#parts.mayReadElsewhere(ops.tagOf(op) & TAG_MASK)) this.#giveUp(op);
    }
  }

  #setSlow(place: number, slow: boolean): void {
    const { members, notify } = this.#core;
    const before = members.slow[place] !== 0;
    if (before === slow) return;
    members.slow[place] = slow ? 1 : 0;
    notify({ type: "memberSlow", place, slow });
  }

  #giveUpMember(place: number): void {
    const { members } = this.#core;
    const { ops } = members;
    if (members.takesWrites(place)) {
      if (members.state[place] === MemberState.inSync && members.isLastCopy(place)) return;
      this.#failures.fail(place, "timeout", Errno.ETIMEDOUT, 0);
    }
    const given: number[] = [];
    for (let op = ops.oldest; op !== -1; op = ops.after(op)) if (ops.placeOf(op) === place) given.push(op);
    for (const op of given) this.#giveUp(op);
  }

  #giveUp(op: number): void {
    const { members, notify } = this.#core;
    const tag = members.ops.tagOf(op);
    const onEnd = this.#keepMemory(tag);
    if (onEnd !== null) this.#onEnd.set(op, onEnd);
    const path = members.giveUp(op);
    if (path !== null) notify({ type: "memberOwes", path });
    this.#parts.deliver(tag, NO_ANSWER);
  }

  /** What it uses of the arena is left alone. Pages of the bitmap are written anew anyway, pills have a place's own block. */
  #keepMemory(tag: number): (() => void) | null {
    const { table, kept } = this.#core;
    const index = tag & TAG_MASK;
    switch (tag >>> TAG_SHIFT) {
      case TagKind.request: {
        const request = Math.floor(index / table.width);
        const op = table.op[request];
        if (op !== RequestOp.read && op !== RequestOp.write) return null;
        const buffer = table.buffer[request] ?? 0;
        kept.keep(buffer);
        return () => kept.ended(buffer);
      }
      case TagKind.copy:
        return this.#parts.retireUnit(index);
      case TagKind.rewrite:
        return this.#parts.retireRewrite();
      default:
        return null;
    }
  }
}
