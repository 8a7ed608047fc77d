import { SECTOR_SIZE } from "../base/units.ts";
import { REQUEST_FUA, REQUEST_NO_HOLE, RequestOp } from "../blockdev/front-end.ts";
import { WRITE_DURABLE } from "../blockdev/io-ring.ts";
import type { EngineCore } from "./engine-core.ts";
import { MemberState } from "./member-table.ts";
import { LegState, LegWork } from "./request-table.ts";
import { TagKind, tagOf } from "./tag.ts";
import { errnoOf, mayRetry, sectorsDone, TRANSFER_FAILED } from "./transfer.ts";

/** Sectors (4 MiB) that a device is asked to zero at once: the ring waits for it, and nothing else is done meanwhile. */
const ZERO_PIECE = 8192;

/** A part of the arena that is zero and stays so. */
export interface ZeroBuffer {
  readonly at: number;
  readonly bytes: number;
}

/**
 * What a leg of a write takes, operation by operation: a transfer and the rest of it; or zeroing by the device, zeros
 * written where it cannot, and a flush where the request must be durable. Where the member has a bad-block log, what
 * fails is written block by block (md's narrow_write_error): only blocks that fail even then are lost to it.
 */
export class WriteLegs {
  readonly #core: EngineCore;
  readonly #zeros: ZeroBuffer;

  constructor(core: EngineCore, zeros: ZeroBuffer) {
    this.#core = core;
    this.#zeros = zeros;
  }

  /** The next operation of a leg, on its member. */
  issue(request: number, leg: number): void {
    const { table, members } = this.#core;
    const disk = table.legDisk[leg] ?? 0;
    const done = table.legDone[leg] ?? 0;
    const at = (table.legAt[leg] ?? 0) + done;
    const left = (table.legSectors[leg] ?? 0) - done;
    const tag = tagOf(TagKind.request, leg);
    const durable = ((table.flags[request] ?? 0) & REQUEST_FUA) !== 0 ? WRITE_DURABLE : 0;
    switch (table.legWork[leg]) {
      case LegWork.transfer: {
        const from = (table.buffer[request] ?? 0) + ((table.legFrom[leg] ?? 0) + done) * SECTOR_SIZE;
        members.write(disk, at, left, from, durable, tag);
        return;
      }
      case LegWork.writeZeros:
        members.write(disk, at, Math.min(left, this.#zeros.bytes / SECTOR_SIZE), this.#zeros.at, durable, tag);
        return;
      case LegWork.flush:
        members.flush(disk, tag);
        return;
      case LegWork.narrow:
      case LegWork.narrowZeros: {
        const isZeros = table.legWork[leg] === LegWork.narrowZeros;
        const data = (table.buffer[request] ?? 0) + ((table.legFrom[leg] ?? 0) + done) * SECTOR_SIZE;
        members.write(disk, at, this.#blockOf(leg), isZeros ? this.#zeros.at : data, durable, tag);
        return;
      }
      default: {
        const keepSpace = ((table.flags[request] ?? 0) & REQUEST_NO_HOLE) !== 0;
        members.zero(disk, at, Math.min(left, ZERO_PIECE), table.op[request] === RequestOp.discard || !keepSpace, tag);
        return;
      }
    }
  }

  /** What has become of a leg: its new state; `again` if more is to be done for it. */
  judge(request: number, leg: number, result: number): number {
    const { table, members } = this.#core;
    const attempts = (table.legRetries[leg] ?? 0) + 1;
    table.legRetries[leg] = attempts;
    switch (table.legWork[leg]) {
      case LegWork.zero:
        if (mayRetry(result, attempts)) return LegState.again;
        if (result >= 0 && this.#advance(leg, ZERO_PIECE)) return LegState.again;
        // The device cannot, or would not: say it with data.
        if (result < 0) table.legWork[leg] = LegWork.writeZeros;
        else if (((table.flags[request] ?? 0) & REQUEST_FUA) !== 0) table.legWork[leg] = LegWork.flush;
        else return LegState.ok;
        table.legRetries[leg] = 0;
        return LegState.again;
      case LegWork.flush:
        if (result >= 0) return LegState.ok;
        if (mayRetry(result, attempts)) return LegState.again;
        break;
      case LegWork.narrow:
      case LegWork.narrowZeros:
        if (mayRetry(result, attempts)) return LegState.again;
        if (this.#narrowed(leg, result)) {
          table.legRetries[leg] = 0;
          const isLast = (table.legDone[leg] ?? 0) >= (table.legSectors[leg] ?? 0);
          return isLast ? this.#ended(request, leg) : LegState.again;
        }
        break;
      default: {
        const left = (table.legSectors[leg] ?? 0) - (table.legDone[leg] ?? 0);
        const zeros = table.legWork[leg] === LegWork.writeZeros;
        const asked = zeros ? Math.min(left, this.#zeros.bytes / SECTOR_SIZE) : left;
        const done = sectorsDone(result, asked, members.blockSize, attempts);
        if (done === TRANSFER_FAILED) {
          if (!this.#mayRecord(leg)) break;
          table.legWork[leg] = zeros ? LegWork.narrowZeros : LegWork.narrow;
          table.legRetries[leg] = 0;
          return LegState.again;
        }
        if (done > 0) table.legRetries[leg] = 0;
        table.legDone[leg] = (table.legDone[leg] ?? 0) + done;
        return done === left ? this.#ended(request, leg) : LegState.again;
      }
    }
    table.legErrno[leg] = errnoOf(result);
    return LegState.failed;
  }

  /** Data are on all of the leg but for what was recorded: nothing else of it is bad any more. */
  #ended(request: number, leg: number): number {
    const { table, members } = this.#core;
    const { badBlocks } = members;
    const lacks = table.legLacks[leg] !== 0;
    const at = table.legAt[leg] ?? 0;
    const heals = !lacks && badBlocks.heal(table.legDisk[leg] ?? 0, at, at + (table.legSectors[leg] ?? 0));
    if (lacks || heals) table.awaits[request] = badBlocks.version;
    return lacks ? LegState.lacking : LegState.ok;
  }

  /** A write error of the member may be recorded, so that it need not fail; of the last copy of anything nothing is given up. */
  #mayRecord(leg: number): boolean {
    const { table, members } = this.#core;
    const disk = table.legDisk[leg] ?? 0;
    const list = members.badBlocks.at(disk);
    if (list === null || !list.takesWriteErrors || !members.takesWrites(disk)) return false;
    if (members.state[disk] === MemberState.inSync && members.isLastCopy(disk)) return false;
    list.writeErrorSeen = true;
    return true;
  }

  /** Sectors of the block that is at work when a leg is narrowed. */
  #blockOf(leg: number): number {
    const { table, members } = this.#core;
    const done = table.legDone[leg] ?? 0;
    const left = (table.legSectors[leg] ?? 0) - done;
    const list = members.badBlocks.at(table.legDisk[leg] ?? 0);
    const block = members.blockSize / SECTOR_SIZE;
    return Math.min(left, list?.toEndOfUnit((table.legAt[leg] ?? 0) + done, block) ?? block);
  }

  /** A block of the leg was written, or is recorded as bad. False: there is no room for it. */
  #narrowed(leg: number, result: number): boolean {
    const { table, members } = this.#core;
    const disk = table.legDisk[leg] ?? 0;
    const block = this.#blockOf(leg);
    const at = (table.legAt[leg] ?? 0) + (table.legDone[leg] ?? 0);
    const isGood = result === block * SECTOR_SIZE;
    if (!isGood && !(this.#mayRecord(leg) && members.badBlocks.record(disk, at, at + block))) return false;
    if (!isGood) table.legLacks[leg] = 1;
    table.legDone[leg] = (table.legDone[leg] ?? 0) + block;
    return true;
  }

  /** At most `sectors` more of a leg are done. Is anything left? */
  #advance(leg: number, sectors: number): boolean {
    const { table } = this.#core;
    const all = table.legSectors[leg] ?? 0;
    const done = Math.min(all, (table.legDone[leg] ?? 0) + sectors);
    table.legDone[leg] = done;
    table.legRetries[leg] = 0;
    return done < all;
  }
}
