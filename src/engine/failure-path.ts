import { assert } from "../base/assert.ts";
import { sector } from "../base/units.ts";
import { Errno } from "../blockdev/errno.ts";
import { RequestOp } from "../blockdev/front-end.ts";
import { counterIndex } from "./counter-index.ts";
import type { EngineCore } from "./engine-core.ts";
import type { EngineNotice } from "./engine-protocol.ts";
import { MemberState } from "./member-table.ts";
import { LegState, RequestQueue } from "./request-table.ts";

export type FailedDuring = Extract<EngineNotice, { type: "memberFailed" }>["during"];

/**
 * Members that fail, and the requests whose answer waits for that. A member is out of use at once; a request that it
 * lacks is answered only when all nodes know that it is faulty, since until then some node may read the old data from it
 * and a crash may make it the source of a resync. The last in-sync copy is never failed.
 *
 * Another node that does not know yet may just then resync the range from the very member that lacks the request, and
 * copy over it what was there before. So a request that waits here while its range is suspended starts anew afterwards.
 */
export class FailurePath {
  readonly #core: EngineCore;
  readonly #differs: (lo: number, hi: number) => void;
  readonly #held: RequestQueue;
  readonly #alive: Uint8Array;
  /** Rises when a member that failed turns out to be the last copy: what was written without it in the era before is lost. */
  #era = 1;
  /** Places of last copies whose devices have not answered all that was given up: used again when they have. */
  readonly #returning = new Set<number>();

  /** `differs`: the copies of [lo, hi) may differ from now on, and need a resync. */
  constructor(core: EngineCore, differs: (lo: number, hi: number) => void) {
    this.#core = core;
    this.#differs = differs;
    this.#held = new RequestQueue(core.table);
    this.#alive = new Uint8Array(core.members.width);
  }

  get held(): number {
    return this.#held.length;
  }

  /** Takes the member out, unless it is the last copy of anything: then false, and what was asked of it fails. */
  fail(disk: number, during: FailedDuring, errno: number, at: number): boolean {
    const { members, shared } = this.#core;
    shared.add(counterIndex.writeErrors, 1);
    // Somebody else's failure of it came first.
    if (!members.takesWrites(disk)) return true;
    if (members.state[disk] === MemberState.inSync && members.isLastCopy(disk)) return false;
    members.block(disk);
    this.#core.notify({ type: "memberFailed", place: disk, errno, during, at: sector(at) });
    return true;
  }

  /**
   * Looks at the legs of a write once all have ended: fails members, and marks the request as failed (`error`) or as
   * lacking on a member (`lostIn`). Of each range some full copy must have been written.
   */
  judgeWrite(request: number): void {
    const { table } = this.#core;
    const legs = table.rangeLegs[request] ?? 0;
    const end = table.endOfLegs(request);
    for (let leg = request * table.width; leg < end; leg += legs) {
      if (this.#judgeLegs(request, leg, legs, "write") === 0) table.error[request] = Errno.EIO;
    }
  }

  /** The same for a flush, which has one leg a place: those that were flushed must hold a copy of everything. */
  judgeFlush(request: number): void {
    const { table, members, personality } = this.#core;
    const first = request * table.width;
    const legs = table.legs[request] ?? 0;
    this.#judgeLegs(request, first, legs, "flush");
    // It is done again, with those that have come in meanwhile.
    if (table.overwritten[request] !== 0) return;
    this.#alive.fill(0);
    for (let disk = 0; disk < legs; disk++) {
      const flushed = table.legState[first + disk] === LegState.ok && members.state[disk] === MemberState.inSync;
      if (flushed) this.#alive[members.raidDiskOf(disk)] = 1;
    }
    if (!personality.survives(this.#alive)) table.error[request] = Errno.EIO;
  }

  /** How many full copies took part. */
  #judgeLegs(request: number, first: number, legs: number, during: FailedDuring): number {
    const { table, members } = this.#core;
    let copies = 0;
    for (let leg = first; leg < first + legs; leg++) {
      const disk = table.legDisk[leg] ?? 0;
      if (table.legState[leg] === LegState.ok) {
        if (members.state[disk] === MemberState.inSync) copies++;
        continue;
      }
      if (table.legState[leg] === LegState.failed) {
        const errno = table.legErrno[leg] ?? Errno.EIO;
        const at = (table.at[request] ?? 0) + (table.legFrom[leg] ?? 0);
        if (!this.fail(disk, during, errno, at)) table.error[request] = Errno.EIO;
      }
      const state = members.state[disk];
      if (table.legState[leg] === LegState.lacking && members.takesWrites(disk)) {
        this.#awaitRecord(request, disk);
        continue;
      }
      if (state === MemberState.blocked) table.lostIn[request] = this.#era;
      if (state !== MemberState.inSync || table.legState[leg] === LegState.failed) continue;
      // Out of use when the request was issued. A flush may have gone on while a member was filled and became whole; for a
      // write, which none comes in beside, it has turned out to be the last copy.
      if (during === "flush") table.overwritten[request] = 1;
      else table.error[request] = Errno.EIO;
    }
    return copies;
  }

  /** The member lacks some of the request where that is recorded: the request waits until that is durable. */
  #awaitRecord(request: number, disk: number): void {
    const { table, members } = this.#core;
    const recordedIn = members.badBlocks.at(disk)?.recordedIn ?? 0;
    table.awaits[request] = Math.max(table.awaits[request] ?? 0, recordedIn);
  }

  /**
   * The request is done on the members: answers it, now or when the failure that it waits for is settled. Nor is it
   * answered while this node may have been declared dead: what landed late may have been copied over by a survivor.
   */
  finish(request: number): void {
    const { table, members, mayAnswer, suspended } = this.#core;
    const error = this.errorOf(request);
    const lacks = table.lostIn[request] !== 0 && members.blocked > 0;
    const isRecorded = members.badBlocks.isDurable(table.awaits[request] ?? 0);
    if (error === 0 && (lacks || !isRecorded || !mayAnswer)) {
      if (suspended.blocks(table.at[request] ?? 0, table.end(request))) this.#markOverwritten(request);
      this.#held.push(request);
    } else if (error === 0 && table.overwritten[request] !== 0) this.#startAnew(request);
    else this.#core.finish(request, error);
  }

  /** Another node resyncs [lo, hi) from now on: what is held there may be gone when it is done. */
  suspend(lo: number, hi: number): void {
    const { table } = this.#core;
    for (let left = this.#held.length; left > 0; left--) {
      const request = this.#held.shift();
      if ((table.at[request] ?? 0) < hi && lo < table.end(request)) this.#markOverwritten(request);
      this.#held.push(request);
    }
  }

  /** Once a turn: answers what waited only for the node to be surely a member. */
  retryHeld(): void {
    if (this.#held.length > 0 && this.#core.mayAnswer) this.#releaseHeld();
  }

  /** What is known of the request's outcome so far: errno, or 0. */
  errorOf(request: number): number {
    const { table } = this.#core;
    const lostIn = table.lostIn[request] ?? 0;
    if (lostIn !== 0 && lostIn !== this.#era) return Errno.EIO;
    return table.error[request] ?? 0;
  }

  /**
   * All nodes know that the member is faulty; or it is the last copy, and what it lacks never happened. False: that is said
   * of it when its device has answered (`answered`), since a write that was given up could land on a newer one, of ours or
   * of another node's, that somebody began because he was told of an error.
   */
  settle(disk: number, outcome: "faulty" | "last_copy"): boolean {
    const { members } = this.#core;
    assert(members.state[disk] === MemberState.blocked, `place ${disk} has no failure to settle`);
    if (outcome === "last_copy" && (members.orphans[disk] ?? 0) > 0) {
      this.#returning.add(disk);
      return false;
    }
    this.#returning.delete(disk);
    members.setState(disk, outcome === "faulty" ? "faulty" : "in_sync", sector(0));
    if (outcome === "last_copy") this.#era++;
    this.#releaseHeld();
    return true;
  }

  /** A last copy that only waits for its device. */
  isReturning(disk: number): boolean {
    return this.#returning.has(disk);
  }

  /** The device in this place has answered all that had been given up. True: it was a last copy, and is used again. */
  answered(disk: number): boolean {
    return this.#returning.has(disk) && this.settle(disk, "last_copy");
  }

  /** What is known of bad blocks up to `version` is durable; or it is not, and what waits for it fails. */
  recorded(version: number, durable: boolean): void {
    const { table, members } = this.#core;
    if (durable) members.badBlocks.written(version);
    for (let left = durable ? 0 : this.#held.length; left > 0; left--) {
      const request = this.#held.shift();
      const awaits = table.awaits[request] ?? 0;
      if (awaits <= version && !members.badBlocks.isDurable(awaits)) table.error[request] = Errno.EIO;
      this.#held.push(request);
    }
    this.#releaseHeld();
  }

  /** Answers what is held with an error: nobody will settle it any more. */
  abandonHeld(errno: number): void {
    for (let left = this.#held.length; left > 0; left--) {
      const request = this.#held.shift();
      this.#leaveDiffering(request);
      this.#core.finish(request, errno);
    }
  }

  /** The members that took what is held have it, whatever it is answered; the others do not. */
  #leaveDiffering(request: number): void {
    const { table } = this.#core;
    if (table.op[request] === RequestOp.flush) return;
    if (table.lostIn[request] === 0 && this.#core.members.badBlocks.isDurable(table.awaits[request] ?? 0)) return;
    this.#differs(table.at[request] ?? 0, table.end(request));
  }

  /** What all members have is the same after the copy. */
  #markOverwritten(request: number): void {
    const { table } = this.#core;
    if (table.lostIn[request] !== 0) table.overwritten[request] = 1;
  }

  #startAnew(request: number): void {
    const { table, startLater } = this.#core;
    table.done[request] = 0;
    table.lostIn[request] = 0;
    table.awaits[request] = 0;
    table.overwritten[request] = 0;
    startLater(request);
  }

  #releaseHeld(): void {
    // Answering makes room for new requests, which may come to be held again.
    for (let left = this.#held.length; left > 0; left--) {
      const request = this.#held.shift();
      if (this.errorOf(request) !== 0) this.#leaveDiffering(request);
      this.finish(request);
    }
  }
}
