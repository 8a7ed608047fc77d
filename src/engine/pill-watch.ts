import { SECTOR_SIZE } from "../base/units.ts";
import { PillCheck } from "../fencing/pill-check.ts";
import { TAKEOVER_BLOCK_BYTES, TAKEOVER_RECORD_BYTES } from "../fencing/takeover-blocks.ts";
import type { EngineCore } from "./engine-core.ts";
import { MemberState } from "./member-table.ts";
import { TagKind, tagOf } from "./tag.ts";
import { mayRetry } from "./transfer.ts";

const BLOCK_SECTORS = TAKEOVER_BLOCK_BYTES / SECTOR_SIZE;

/**
 * Looks at our slot's pill on the members: whoever takes the slot over writes one on all of them first. All in-sync members
 * are read, since those that we take for in sync need not be the same that others do; one of them is enough to end it.
 *
 * This narrows the gap that no clock closes, that of a thread that stands still between looking and writing. It does not
 * close it either.
 */
export class PillWatch {
  readonly #core: EngineCore;
  readonly #check: PillCheck | null;
  readonly #everyMs: number;
  readonly #bufferAt: number;
  readonly #attempts: Uint16Array;
  #inFlight = 0;
  /** A look has found nothing, and no page was written on its strength yet. */
  #isClear = false;
  /** It has ended in this turn. */
  #justLooked = false;
  #isCondemned = false;
  #askedAt = Number.NEGATIVE_INFINITY;
  /** Operations on members that had been begun at the last look. */
  #begunBefore = 0;

  /** `bufferAt`: arena offset of one block a place. */
  constructor(core: EngineCore, bufferAt: number) {
    const { pill, pillEveryMs } = core.config;
    this.#core = core;
    this.#everyMs = pillEveryMs;
    this.#attempts = new Uint16Array(core.members.width);
    this.#check = pill === null ? null : new PillCheck(pill);
    this.#bufferAt = bufferAt;
  }

  get isAsking(): boolean {
    return this.#inFlight > 0;
  }

  /** May a page be written now? If that is not known, a look begins, and its completions bring the next turn. */
  mayWrite(now: number): boolean {
    if (this.#check === null || (this.#isClear && this.#isFresh(now))) return true;
    if (this.#inFlight === 0) this.#ask(now);
    return this.#isClear;
  }

  /** What was found long ago proves nothing; what was found in this turn is as new as it can be, slow as a member may be. */
  #isFresh(now: number): boolean {
    return this.#justLooked || now - this.#askedAt < this.#everyMs;
  }

  endTurn(): void {
    this.#justLooked = false;
  }

  /** Pages were written: the next ones need a look of their own. */
  used(): void {
    this.#isClear = false;
  }

  /** A look now and then, as long as there is anything to do on members. */
  tick(now: number): void {
    if (this.#check === null || this.#inFlight > 0 || now - this.#askedAt < this.#everyMs) return;
    if (this.#core.members.begun !== this.#begunBefore) this.#ask(now);
  }

  completion(disk: number, result: number): void {
    const { members, shared, ring, notify } = this.#core;
    members.ended(disk);
    const attempts = (this.#attempts[disk] ?? 0) + 1;
    this.#attempts[disk] = attempts;
    if (mayRetry(result, attempts)) {
      this.#read(disk);
      return;
    }
    this.#inFlight--;
    if (this.#inFlight === 0) {
      this.#isClear = true;
      this.#justLooked = true;
      this.#begunBefore = members.begun;
    }
    // A member that cannot be read, or says what makes no sense, tells nothing: the lease is what protects then.
    if (result < TAKEOVER_RECORD_BYTES) return;
    if (this.#check?.verdict(ring.arena, this.#bufferOf(disk)) !== "condemned" || this.#isCondemned) return;
    this.#isCondemned = true;
    shared.revoke();
    notify({ type: "condemned", place: disk });
  }

  #ask(now: number): void {
    const { members } = this.#core;
    this.#askedAt = now;
    this.#isClear = false;
    for (let disk = 0; disk < members.places; disk++) {
      if (members.state[disk] !== MemberState.inSync || !members.hasPill(disk)) continue;
      this.#inFlight++;
      this.#attempts[disk] = 0;
      this.#read(disk);
    }
    if (this.#inFlight === 0) this.#isClear = true;
  }

  #read(disk: number): void {
    this.#core.members.readPill(disk, BLOCK_SECTORS, this.#bufferOf(disk), tagOf(TagKind.pill, disk));
  }

  #bufferOf(disk: number): number {
    return this.#bufferAt + disk * TAKEOVER_BLOCK_BYTES;
  }
}
