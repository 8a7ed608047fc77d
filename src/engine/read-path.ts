import { SECTOR_SIZE, sector } from "../base/units.ts";
import { Errno } from "../blockdev/errno.ts";
import type { BitmapPath } from "./bitmap-path.ts";
import { counterIndex } from "./counter-index.ts";
import type { EngineCore } from "./engine-core.ts";
import { LegLayout } from "./leg-layout.ts";
import { NO_ANSWER } from "./member-ops.ts";
import { MemberState } from "./member-table.ts";
import { chooseCopy } from "./read-balance.ts";
import { LegState, LegWork, RequestQueue } from "./request-table.ts";
import { TagKind, tagOf } from "./tag.ts";
import { errnoOf, sectorsDone, TRANSFER_FAILED } from "./transfer.ts";

const ESHUTDOWN = 108;
/** In place of an error: the request starts anew when it is known which copies are left. */
const UNDECIDED = -1;
/** In place of an error: a member has not answered, so the request starts anew in another buffer. */
const ELSEWHERE = -2;

/**
 * Reads: from the nearest idle copy, or, where the mirrors may differ, from the first that is in sync, which is what
 * all nodes read and what a resync copies from. A read that fails goes to the next copy; EIO only if none can give it.
 *
 * One that a member does not answer in time starts anew, too, in another buffer: its own may still be written to.
 *
 * What was read is answered only if the node was surely still a member when it had it. Otherwise the read waits, and
 * starts anew: the mirror that it came from may have been failed by the others, and be old.
 */
export class ReadPath {
  readonly #core: EngineCore;
  readonly #bitmap: BitmapPath;
  readonly #layout: LegLayout;
  readonly #sector: Float64Array;
  readonly #usable: Uint8Array;
  readonly #inFlight: Int32Array;
  readonly #head: Float64Array;
  /** Wait until the node is surely a member. */
  readonly #held: RequestQueue;
  /** Wait for another buffer. */
  readonly #elsewhere: RequestQueue;

  constructor(core: EngineCore, bitmap: BitmapPath) {
    const { width } = core.members;
    this.#core = core;
    this.#bitmap = bitmap;
    this.#layout = new LegLayout(core);
    this.#sector = new Float64Array(width);
    this.#usable = new Uint8Array(width);
    this.#inFlight = new Int32Array(width);
    this.#head = new Float64Array(width);
    this.#held = new RequestQueue(core.table);
    this.#elsewhere = new RequestQueue(core.table);
  }

  get held(): number {
    return this.#held.length;
  }

  /** Nobody says when there is a buffer for these. */
  get waitsForBuffer(): boolean {
    return this.#elsewhere.length > 0;
  }

  /** Once a turn: those that wait for another buffer ask for it again. */
  retryElsewhere(): void {
    for (let left = this.#elsewhere.length; left > 0; left--) this.#startElsewhere(this.#elsewhere.shift());
  }

  /** A leg's read is late: is there another copy that may be asked, and answers? */
  mayGoElsewhere(leg: number): boolean {
    const { table, personality } = this.#core;
    const request = Math.floor(leg / table.width);
    const first = leg - ((leg - request * table.width) % personality.copies);
    const at = (table.at[request] ?? 0) + (table.legFrom[first] ?? 0);
    const sectors = table.legSectors[first] ?? 0;
    if (this.#readsFirst(at, at + sectors)) return false;
    for (let other = first; other < first + personality.copies; other++) {
      if (other !== leg && this.#answers(other, sectors)) return true;
    }
    return false;
  }

  /** Can the leg be read, from a member that is not late with anything? */
  #answers(leg: number, sectors: number): boolean {
    const { table, members } = this.#core;
    const disk = table.legDisk[leg] ?? 0;
    return members.slow[disk] === 0 && members.isReadable(disk, table.legAt[leg] ?? 0, sectors);
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
    this.#layout.layReads(request);
    const { copies } = personality;
    const first = request * table.width;
    const end = table.endOfLegs(request);
    table.legsPending[request] = (end - first) / copies;
    for (let leg = first; leg < end; leg += copies) this.#tryNext(request, leg);
  }

  legCompletion(leg: number, result: number): void {
    const { table, members, personality } = this.#core;
    const request = Math.floor(leg / table.width);
    const disk = table.legDisk[leg] ?? 0;
    members.ended(disk);
    const attempts = (table.legRetries[leg] ?? 0) + 1;
    table.legRetries[leg] = attempts;
    const sectors = table.legSectors[leg] ?? 0;
    const left = sectors - (table.legDone[leg] ?? 0);
    const done = sectorsDone(result, left, members.blockSize, attempts);
    if (done === left) {
      this.#rangeEnded(request);
      return;
    }
    if (done !== TRANSFER_FAILED && members.isReadable(disk, table.legAt[leg] ?? 0, sectors)) {
      table.legDone[leg] = (table.legDone[leg] ?? 0) + done;
      this.#issueLeg(request, leg);
      return;
    }
    table.legState[leg] = LegState.failed;
    if (result === NO_ANSWER) {
      table.error[request] = ELSEWHERE;
      this.#rangeEnded(request);
      return;
    }
    if (done === TRANSFER_FAILED) this.#report(request, leg, errnoOf(result));
    const place = (leg - request * table.width) % personality.copies;
    this.#tryNext(request, leg - place);
  }

  #report(request: number, leg: number, errno: number): void {
    const { table, shared, notify } = this.#core;
    shared.add(counterIndex.readErrors, 1);
    const at = sector((table.at[request] ?? 0) + (table.legFrom[leg] ?? 0));
    const sectors = table.legSectors[leg] ?? 0;
    notify({ type: "readError", place: table.legDisk[leg] ?? 0, errno, at, sectors, during: "read" });
  }

  /** Another copy of the range whose first leg this is. */
  #tryNext(request: number, first: number): void {
    const { table, members } = this.#core;
    const copy = this.#choose(request, first);
    if (copy === -1) {
      if (table.error[request] === 0) table.error[request] = members.isUndecided ? UNDECIDED : Errno.EIO;
      this.#rangeEnded(request);
      return;
    }
    table.startLeg(first + copy, LegWork.transfer);
    this.#issueLeg(request, first + copy);
  }

  #choose(request: number, first: number): number {
    const { table, members, personality } = this.#core;
    const { copies } = personality;
    const at = (table.at[request] ?? 0) + (table.legFrom[first] ?? 0);
    const sectors = table.legSectors[first] ?? 0;
    const ordered = this.#readsFirst(at, at + sectors);
    let anyInSync = false;
    let anyPreferred = false;
    let anyQuick = false;
    for (let copy = 0; copy < copies; copy++) {
      const disk = table.legDisk[first + copy] ?? 0;
      const legAt = table.legAt[first + copy] ?? 0;
      const tried = table.legState[first + copy] !== LegState.skipped;
      const usable = !tried && members.isReadable(disk, legAt, sectors);
      this.#sector[copy] = legAt;
      this.#usable[copy] = usable ? 1 : 0;
      this.#inFlight[copy] = members.inFlight[disk] ?? 0;
      this.#head[copy] = members.head[disk] ?? 0;
      if (usable && members.state[disk] === MemberState.inSync) anyInSync = true;
      if (usable && members.slow[disk] === 0) {
        anyQuick = true;
        if (members.writeMostly[disk] === 0) anyPreferred = true;
      }
    }
    for (let copy = 0; !ordered && anyQuick && copy < copies; copy++) {
      if (members.slow[table.legDisk[first + copy] ?? 0] !== 0) this.#usable[copy] = 0;
    }
    for (let copy = 0; !ordered && anyPreferred && copy < copies; copy++) {
      if (members.writeMostly[table.legDisk[first + copy] ?? 0] !== 0) this.#usable[copy] = 0;
    }
    // A member that is being rebuilt may come before the one that it is filled from.
    for (let copy = 0; ordered && anyInSync && copy < copies; copy++) {
      if (members.state[table.legDisk[first + copy] ?? 0] !== MemberState.inSync) this.#usable[copy] = 0;
    }
    const order = ordered ? "first" : personality.readsLowest ? "lowest" : "nearest";
    return chooseCopy(order, copies, this.#sector, this.#usable, this.#inFlight, this.#head);
  }

  #readsFirst(lo: number, hi: number): boolean {
    return this.#core.balance === "first" || this.#core.suspended.blocks(lo, hi) || this.#bitmap.needsSync(lo, hi);
  }

  #issueLeg(request: number, leg: number): void {
    const { table, members } = this.#core;
    const done = table.legDone[leg] ?? 0;
    const buffer = (table.buffer[request] ?? 0) + ((table.legFrom[leg] ?? 0) + done) * SECTOR_SIZE;
    const at = (table.legAt[leg] ?? 0) + done;
    const left = (table.legSectors[leg] ?? 0) - done;
    members.read(table.legDisk[leg] ?? 0, at, left, buffer, tagOf(TagKind.request, leg));
  }

  #startElsewhere(request: number): void {
    const { table, kept, startLater, stopping, finish } = this.#core;
    const frontEnd = table.frontEnd[request] ?? null;
    const before = table.buffer[request] ?? 0;
    if (stopping || frontEnd === null) {
      finish(request, ESHUTDOWN);
      return;
    }
    // By now the device may have answered.
    if (kept.has(before)) {
      const buffer = frontEnd.keepBuffer(table.cookie[request] ?? 0, true);
      if (buffer === -1) {
        this.#elsewhere.push(request);
        return;
      }
      kept.leave(before, frontEnd);
      table.buffer[request] = buffer;
    }
    table.done[request] = 0;
    startLater(request);
  }

  /** A range was read, or cannot be. */
  #rangeEnded(request: number): void {
    const { table } = this.#core;
    const left = (table.legsPending[request] ?? 0) - 1;
    table.legsPending[request] = left;
    if (left === 0) this.#partDone(request);
  }

  #partDone(request: number): void {
    const { table, shared, finish, mayAnswer, startLater } = this.#core;
    const error = table.error[request] ?? 0;
    if (error !== 0) {
      table.error[request] = 0;
      if (error === ELSEWHERE) this.#startElsewhere(request);
      else if (error === UNDECIDED) startLater(request);
      else finish(request, error);
      return;
    }
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
