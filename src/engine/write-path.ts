import { Errno } from "../blockdev/errno.ts";
import { RequestOp } from "../blockdev/front-end.ts";
import type { BitmapPath } from "./bitmap-path.ts";
import { counterIndex } from "./counter-index.ts";
import type { EngineCore } from "./engine-core.ts";
import type { FailurePath } from "./failure-path.ts";
import { LegLayout } from "./leg-layout.ts";
import { MemberState } from "./member-table.ts";
import type { RangeLock } from "./range-lock.ts";
import { LegState, LegWork, RequestQueue } from "./request-table.ts";

import { WriteLegs, type ZeroBuffer } from "./write-legs.ts";

const ESHUTDOWN = 108;

/**
 * Writes, zeroes and discards: let in -> suspend list -> range lock -> intent -> (bits durable) -> legs from the same buffer ->
 * all legs ended -> answer. Nothing is issued but by `issue`, which its caller calls only while the lease holds: data
 * goes to the ring in the same breath in which the lease was looked at.
 *
 * A write that has not been issued can always be taken back. So a suspension, which others wait for, never waits for
 * one that itself waits for the lease, for a failure to be settled, or for another write.
 */
export class WritePath {
  readonly #core: EngineCore;
  readonly #bitmap: BitmapPath;
  readonly #failures: FailurePath;
  readonly #lock: RangeLock;
  readonly #legs: WriteLegs;
  /** Wait until the superblocks say that copies may differ. */
  readonly #held: RequestQueue;
  #toldHeld = false;
  readonly #suspended: RequestQueue;
  /** Hold their range; their bits are not durable yet. */
  readonly #unrecorded: RequestQueue;
  readonly #ready: RequestQueue;
  /** Some of their legs are to be issued again. */
  readonly #again: RequestQueue;
  readonly #queuedAgain: Uint8Array;
  readonly #layout: LegLayout;

  constructor(core: EngineCore, bitmap: BitmapPath, failures: FailurePath, lock: RangeLock, zeros: ZeroBuffer) {
    this.#core = core;
    this.#bitmap = bitmap;
    this.#failures = failures;
    this.#lock = lock;
    this.#legs = new WriteLegs(core, zeros);
    this.#held = new RequestQueue(core.table);
    this.#suspended = new RequestQueue(core.table);
    this.#unrecorded = new RequestQueue(core.table);
    this.#ready = new RequestQueue(core.table);
    this.#again = new RequestQueue(core.table);
    this.#queuedAgain = new Uint8Array(core.table.capacity);
    this.#layout = new LegLayout(core);
  }

  get waitingOnSuspend(): number {
    return this.#suspended.length;
  }

  get waitingOnBitmap(): number {
    return this.#unrecorded.length;
  }

  /** Ready but for the lease, or for the end of a quiesce. */
  get waitingToIssue(): number {
    return this.#ready.length + this.#again.length;
  }

  start(request: number): void {
    const { table, suspended } = this.#core;
    const lo = table.at[request] ?? 0;
    const hi = table.end(request);
    if (table.cancelled[request] !== 0) this.#core.finish(request, ESHUTDOWN);
    else if (this.#core.holdsWrites) this.#hold(request);
    else if (suspended.blocks(lo, hi)) this.#suspend(request);
    else if (this.#lock.lock(request, lo, hi)) this.locked(request);
  }

  /** The range is its own now. */
  locked(request: number): void {
    const { table } = this.#core;
    const durable = this.#bitmap.startWrite(table.at[request] ?? 0, table.end(request));
    (durable ? this.#ready : this.#unrecorded).push(request);
  }

  /** Bits have become durable, or cannot. */
  bitmapChanged(): void {
    const { table } = this.#core;
    for (let left = this.#unrecorded.length; left > 0; left--) {
      const request = this.#unrecorded.shift();
      const lo = table.at[request] ?? 0;
      const hi = table.end(request);
      if (this.#bitmap.isDurable(lo, hi)) this.#ready.push(request);
      else if (!this.#bitmap.isLost(lo, hi)) this.#unrecorded.push(request);
      else {
        table.error[request] = Errno.EIO;
        this.#end(request);
      }
    }
  }

  /** From now on writes wait, unless there is one: then false. */
  holdWrites(): boolean {
    if (this.#core.table.changing > 0) return false;
    this.#core.holdsWrites = true;
    return true;
  }

  /** Those that wait start; with an errno they are answered with it, and what comes waits again. */
  admitWrites(errno: number): void {
    this.#core.holdsWrites = errno !== 0;
    this.#toldHeld = false;
    for (let left = this.#held.length; left > 0; left--) {
      const request = this.#held.shift();
      if (errno === 0) this.start(request);
      else this.#core.finish(request, errno);
    }
  }

  /** Ranges were resumed, requests cancelled, or the engine stops: everything that waits to start does so anew. */
  retrySuspended(): void {
    for (let left = this.#held.length; left > 0; left--) this.start(this.#held.shift());
    for (let left = this.#suspended.length; left > 0; left--) {
      this.start(this.#suspended.shift());
    }
  }

  /** Takes back what is not issued and may not be now: suspended, cancelled; or `all`, since the engine ends. */
  takeBack(all: boolean): void {
    // What is taken back gives its range to one that waited for it, which comes to these queues then.
    while (this.#takeBackFrom(this.#ready, all) + this.#takeBackFrom(this.#unrecorded, all) > 0);
  }

  /** Everything that holds a range and has nothing in flight starts anew: its bits may get another form meanwhile. */
  startAllAnew(): void {
    while (this.#startAnew(this.#ready) + this.#startAnew(this.#unrecorded) > 0);
  }

  /** What would have to be issued again never will be: of cancelled requests; or `all`, the engine stops without a lease. */
  abandonAgain(all: boolean): void {
    for (let left = this.#again.length; left > 0; left--) {
      const request = this.#again.shift();
      if (all || this.#core.table.cancelled[request] !== 0) this.#abandonLegs(request);
      else this.#again.push(request);
    }
  }

  /** Legs that are in flight, though the ring does not have them. */
  get waitingAgain(): number {
    return this.#again.length;
  }

  /** May new legs go out, as far as it is not a matter of the lease? */
  get mayIssue(): boolean {
    return !this.#core.quiesced && !this.#core.members.isUndecided;
  }

  /** The lease holds. */
  issue(): void {
    for (let left = this.#again.length; left > 0; left--) this.#issueAgain(this.#again.shift());
    if (!this.mayIssue) return;
    for (let left = this.#ready.length; left > 0; left--) this.#issuePart(this.#ready.shift());
  }

  legCompletion(leg: number, result: number): void {
    const { table, members } = this.#core;
    const request = Math.floor(leg / table.width);
    members.ended(table.legDisk[leg] ?? 0);
    const state = this.#legs.judge(request, leg, result);
    table.legState[leg] = state;
    if (state === LegState.again) {
      if (this.#queuedAgain[request] === 0) this.#again.push(request);
      this.#queuedAgain[request] = 1;
      return;
    }
    const left = (table.legsPending[request] ?? 0) - 1;
    table.legsPending[request] = left;
    if (left === 0) this.#partDone(request);
  }

  #abandonLegs(request: number): void {
    const { table } = this.#core;
    this.#queuedAgain[request] = 0;
    for (let leg = request * table.width; leg < table.endOfLegs(request); leg++) {
      if (table.legState[leg] === LegState.again) this.#dropLeg(request, leg);
    }
    if (table.legsPending[request] === 0) this.#partDone(request);
  }

  /** How many were taken back. */
  #takeBackFrom(queue: RequestQueue, all: boolean): number {
    let taken = 0;
    for (let left = queue.length; left > 0; left--) {
      const request = queue.shift();
      if (all) this.#giveUp(request);
      else if (!this.#isTakenBack(request)) {
        queue.push(request);
        continue;
      }
      taken++;
    }
    return taken;
  }

  #startAnew(queue: RequestQueue): number {
    const { table, startLater } = this.#core;
    const waiting = queue.length;
    for (let left = waiting; left > 0; left--) {
      const request = queue.shift();
      const lo = table.at[request] ?? 0;
      const hi = table.end(request);
      this.#bitmap.endWrite(lo, hi, false);
      // A part is on the members, and the whole may yet be refused.
      if ((table.done[request] ?? 0) > 0) this.#bitmap.differs(lo, hi);
      this.#lock.unlock(request);
      table.done[request] = 0;
      table.lostIn[request] = 0;
      table.issued[request] = 0;
      startLater(request);
    }
    return waiting;
  }

  /** Takes back a request that holds its range if it may not be issued now. */
  #isTakenBack(request: number): boolean {
    const { table, suspended } = this.#core;
    if (table.cancelled[request] !== 0) {
      this.#giveUp(request);
      return true;
    }
    const lo = table.at[request] ?? 0;
    const hi = table.end(request);
    // Once a part has gone out the rest has to follow.
    if ((table.done[request] ?? 0) > 0 || !suspended.blocks(lo, hi)) return false;
    this.#bitmap.endWrite(lo, hi, false);
    this.#lock.unlock(request);
    this.#suspend(request);
    return true;
  }

  /** It holds its range and its bits are set, but no leg of it is in flight. */
  #giveUp(request: number): void {
    this.#core.table.error[request] = ESHUTDOWN;
    this.#end(request);
  }

  #hold(request: number): void {
    if (this.#core.stopping) {
      this.#core.finish(request, ESHUTDOWN);
      return;
    }
    this.#held.push(request);
    if (this.#toldHeld) return;
    this.#toldHeld = true;
    this.#core.notify({ type: "writesHeld" });
  }

  #suspend(request: number): void {
    if (this.#core.stopping) this.#core.finish(request, ESHUTDOWN);
    else this.#suspended.push(request);
  }

  #issuePart(request: number): void {
    const { table, members } = this.#core;
    // It may have waited for another's range until now.
    if (this.#isTakenBack(request)) return;
    table.issued[request] = 1;
    this.#layout.layWrites(request);
    let legs = 0;
    for (let leg = request * table.width; leg < table.endOfLegs(request); leg++) {
      if (!members.takesWrites(table.legDisk[leg] ?? 0)) continue;
      if (this.#isLeftOut(request, leg)) {
        table.legState[leg] = LegState.lacking;
        continue;
      }
      table.startLeg(leg, this.#workOf(request, leg));
      legs++;
    }
    table.legsPending[request] = legs;
    if (legs === 0) {
      this.#partDone(request);
      return;
    }
    for (let leg = request * table.width; leg < table.endOfLegs(request); leg++) {
      if (table.legState[leg] === LegState.inFlight) this.#legs.issue(request, leg);
    }
  }

  #workOf(request: number, leg: number): number {
    const { table, members } = this.#core;
    if (table.op[request] === RequestOp.write) return LegWork.transfer;
    // Only data that were written make a bad block good.
    const at = table.legAt[leg] ?? 0;
    const isBad = members.badBlocks.isBad(table.legDisk[leg] ?? 0, at, at + (table.legSectors[leg] ?? 0));
    return isBad ? LegWork.writeZeros : LegWork.zero;
  }

  /** Its member would fail again where it is recorded as bad, and another copy takes the range. */
  #isLeftOut(request: number, leg: number): boolean {
    const { table, members } = this.#core;
    const { badBlocks } = members;
    if (!badBlocks.any) return false;
    const sectors = table.legSectors[leg] ?? 0;
    const at = table.legAt[leg] ?? 0;
    if (!badBlocks.isShunned(table.legDisk[leg] ?? 0, at, at + sectors)) return false;
    const legs = table.rangeLegs[request] ?? 1;
    const first = leg - ((leg - request * table.width) % legs);
    for (let other = first; other < first + legs; other++) {
      const disk = table.legDisk[other] ?? 0;
      const from = table.legAt[other] ?? 0;
      if (members.state[disk] === MemberState.inSync && !badBlocks.isBad(disk, from, from + sectors)) return true;
    }
    return false;
  }

  #issueAgain(request: number): void {
    const { table, members } = this.#core;
    const cancelled = table.cancelled[request] !== 0;
    this.#queuedAgain[request] = 0;
    for (let leg = request * table.width; leg < table.endOfLegs(request); leg++) {
      if (table.legState[leg] !== LegState.again) continue;
      // Its member may have failed meanwhile, and even be gone.
      if (cancelled || !members.takesWrites(table.legDisk[leg] ?? 0)) {
        this.#dropLeg(request, leg);
        continue;
      }
      table.legState[leg] = LegState.inFlight;
      this.#legs.issue(request, leg);
    }
    if (table.legsPending[request] === 0) this.#partDone(request);
  }

  #dropLeg(request: number, leg: number): void {
    const { table } = this.#core;
    table.legState[leg] = LegState.skipped;
    table.legsPending[request] = (table.legsPending[request] ?? 0) - 1;
  }

  #partDone(request: number): void {
    const { table } = this.#core;
    this.#failures.judgeWrite(request);
    const done = (table.done[request] ?? 0) + (table.part[request] ?? 0);
    table.done[request] = done;
    if (this.#failures.errorOf(request) !== 0 || done >= (table.sectors[request] ?? 0)) this.#end(request);
    else this.#ready.push(request);
  }

  #end(request: number): void {
    const { table, members, shared } = this.#core;
    const lo = table.at[request] ?? 0;
    const hi = table.end(request);
    const error = this.#failures.errorOf(request);
    this.#bitmap.endWrite(lo, hi, error === 0 && table.lostIn[request] === 0 && !members.isDegraded);
    if (error !== 0 && table.issued[request] !== 0) this.#bitmap.differs(lo, hi);
    table.issued[request] = 0;
    this.#lock.unlock(request);
    if (error === 0) shared.add(counterIndex.writeSectors, hi - lo);
    this.#failures.finish(request);
  }
}
