import { SECTOR_SIZE, sector } from "../base/units.ts";
import { Errno } from "../blockdev/errno.ts";
import { chooseCopy } from "../raid1/read-balance.ts";
import type { BitmapPath } from "./bitmap-path.ts";
import { counterIndex } from "./counter-index.ts";
import type { EngineCore } from "./engine-core.ts";
import { MemberState } from "./member-table.ts";
import { LegState, LegWork, RequestQueue } from "./request-table.ts";
import { TagKind, tagOf } from "./tag.ts";
import { errnoOf, sectorsDone, TRANSFER_FAILED } from "./transfer.ts";

const ESHUTDOWN = 108;

/**
 * Reads: from the nearest idle copy, or, where the mirrors may differ, from the first that is in sync, which is what
 * all nodes read and what a resync copies from. A read that fails goes to the next copy; EIO only if none can give it.
 *
 * What was read is answered only if the node was surely still a member when it had it. Otherwise the read waits, and
 * starts anew: the mirror that it came from may have been failed by the others, and be old.
 */
export class ReadPath {
  readonly #core: EngineCore;
  readonly #bitmap: BitmapPath;
  readonly #disk: Int32Array;
  readonly #sector: Float64Array;
  readonly #usable: Uint8Array;
  readonly #inFlight: Int32Array;
  readonly #head: Float64Array;
  /** Wait until the node is surely a member. */
  readonly #held: RequestQueue;

  constructor(core: EngineCore, bitmap: BitmapPath) {
    const { width } = core.table;
    this.#core = core;
    this.#bitmap = bitmap;
    this.#disk = new Int32Array(width);
    this.#sector = new Float64Array(width);
    this.#usable = new Uint8Array(width);
    this.#inFlight = new Int32Array(width);
    this.#head = new Float64Array(width);
    this.#held = new RequestQueue(core.table);
  }

  get held(): number {
    return this.#held.length;
  }

  /** Starts those anew that waited, once they may be answered; refuses them when the engine stops. */
  retryHeld(): void {
    const { table, mayAnswer, stopping, finish } = this.#core;
    if (!mayAnswer && !stopping) return;
    for (let left = this.#held.length; left > 0; left--) {
      const request = this.#held.shift();
      table.done[request] = 0;
      if (stopping) finish(request, ESHUTDOWN);
      else this.start(request);
    }
  }

  start(request: number): void {
    const { table, personality } = this.#core;
    const at = (table.at[request] ?? 0) + (table.done[request] ?? 0);
    table.part[request] = personality.contiguous(sector(at), sector(table.end(request)));
    for (let copy = 0; copy < personality.copies; copy++) {
      table.legState[request * table.width + copy] = LegState.skipped;
    }
    this.#tryNext(request);
  }

  legCompletion(leg: number, result: number): void {
    const { table, members } = this.#core;
    const request = Math.floor(leg / table.width);
    const disk = table.legDisk[leg] ?? 0;
    members.ended(disk);
    const attempts = (table.legRetries[leg] ?? 0) + 1;
    table.legRetries[leg] = attempts;
    const left = (table.part[request] ?? 0) - (table.legDone[leg] ?? 0);
    const done = sectorsDone(result, left, members.blockSize, attempts);
    if (done === left) {
      this.#partDone(request);
      return;
    }
    if (done !== TRANSFER_FAILED && members.isReadable(disk, table.legAt[leg] ?? 0, table.part[request] ?? 0)) {
      table.legDone[leg] = (table.legDone[leg] ?? 0) + done;
      this.#issueLeg(request, leg);
      return;
    }
    table.legState[leg] = LegState.failed;
    if (done === TRANSFER_FAILED) this.#report(request, disk, errnoOf(result));
    this.#tryNext(request);
  }

  #report(request: number, raidDisk: number, errno: number): void {
    const { table, shared, notify } = this.#core;
    shared.add(counterIndex.readErrors, 1);
    const at = sector((table.at[request] ?? 0) + (table.done[request] ?? 0));
    notify({ type: "readError", raidDisk, errno, at });
  }

  #tryNext(request: number): void {
    const { table, personality, members, finish } = this.#core;
    const at = (table.at[request] ?? 0) + (table.done[request] ?? 0);
    personality.map(sector(at), this.#disk, this.#sector);
    const copy = this.#choose(request, at);
    if (copy === -1) {
      if (members.isUndecided) this.#core.startLater(request);
      else finish(request, Errno.EIO);
      return;
    }
    const leg = request * table.width + copy;
    table.startLeg(leg, this.#disk[copy] ?? 0, this.#sector[copy] ?? 0, LegWork.transfer);
    this.#issueLeg(request, leg);
  }

  #choose(request: number, at: number): number {
    const { table, members, personality } = this.#core;
    const part = table.part[request] ?? 0;
    const first = this.#readsFirst(at, at + part);
    let anyInSync = false;
    for (let copy = 0; copy < personality.copies; copy++) {
      const disk = this.#disk[copy] ?? 0;
      const tried = table.legState[request * table.width + copy] !== LegState.skipped;
      const usable = !tried && members.isReadable(disk, this.#sector[copy] ?? 0, part);
      this.#usable[copy] = usable ? 1 : 0;
      this.#inFlight[copy] = members.inFlight[disk] ?? 0;
      this.#head[copy] = members.head[disk] ?? 0;
      if (usable && members.state[disk] === MemberState.inSync) anyInSync = true;
    }
    // A member that is being rebuilt may come before the one that it is filled from.
    for (let copy = 0; first && anyInSync && copy < personality.copies; copy++) {
      if (members.state[this.#disk[copy] ?? 0] !== MemberState.inSync) this.#usable[copy] = 0;
    }
    return chooseCopy(first, personality.copies, this.#sector, this.#usable, this.#inFlight, this.#head);
  }

  #readsFirst(lo: number, hi: number): boolean {
    return this.#core.balance === "first" || this.#core.suspended.blocks(lo, hi) || this.#bitmap.needsSync(lo, hi);
  }

  #issueLeg(request: number, leg: number): void {
    const { table, members } = this.#core;
    const done = table.legDone[leg] ?? 0;
    const buffer = (table.buffer[request] ?? 0) + ((table.done[request] ?? 0) + done) * SECTOR_SIZE;
    const at = (table.legAt[leg] ?? 0) + done;
    const left = (table.part[request] ?? 0) - done;
    members.read(table.legDisk[leg] ?? 0, at, left, buffer, tagOf(TagKind.request, leg));
  }

  #partDone(request: number): void {
    const { table, shared, finish, mayAnswer } = this.#core;
    const done = (table.done[request] ?? 0) + (table.part[request] ?? 0);
    table.done[request] = done;
    if (done < (table.sectors[request] ?? 0)) {
      this.start(request);
      return;
    }
    if (!mayAnswer) {
      this.#held.push(request);
      return;
    }
    shared.add(counterIndex.readSectors, done);
    finish(request, 0);
  }
}
