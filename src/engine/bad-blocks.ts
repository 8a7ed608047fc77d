import { MdError } from "../base/md-error.ts";
import { BadRanges } from "./bad-ranges.ts";
import type { BadBlocksOf, EngineMember } from "./engine-protocol.ts";

/**
 * The bad blocks of all members, by place. Each change makes another version, and is told at the end of the turn; whoever
 * writes the logs says which version is durable. A request that hangs on a change is not answered before, and no bit is
 * cleared: after a power cut nobody would know that the member lacks the data, or that it has it.
 */
export class BadBlocks {
  readonly #lists: (BadRanges | null)[];
  readonly #changed: Uint8Array;
  /** Places where something is recorded. */
  #used = 0;
  #version = 0;
  #durable = 0;
  #told = 0;

  constructor(places: number) {
    this.#lists = new Array<BadRanges | null>(places).fill(null);
    this.#changed = new Uint8Array(places);
  }

  /** Is anything recorded of any member? */
  get any(): boolean {
    return this.#used > 0;
  }

  get version(): number {
    return this.#version;
  }

  /** Not all that has changed is durable. */
  get isPending(): boolean {
    return this.#version > this.#durable;
  }

  isDurable(version: number): boolean {
    return version <= this.#durable;
  }

  /** Null: the member has no log. */
  at(place: number): BadRanges | null {
    return this.#lists[place] ?? null;
  }

  open({ place, badBlocks, dataOffset }: EngineMember): void {
    this.#lists[place] = badBlocks == null ? null : new BadRanges(badBlocks, dataOffset);
    this.#count();
  }

  close(place: number): void {
    this.#lists[place] = null;
    this.#changed[place] = 0;
    this.#count();
  }

  /** From now on there are no logs. E_VALUE while something is recorded. */
  end(): void {
    if (this.any || this.isPending) throw new MdError("E_VALUE", "members have bad blocks recorded");
    this.#lists.fill(null);
  }

  isBad(place: number, lo: number, hi: number): boolean {
    return this.#used > 0 && (this.#lists[place]?.overlaps(lo, hi) ?? false);
  }

  /** Is it left out of writes where another copy takes them? */
  isShunned(place: number, lo: number, hi: number): boolean {
    return this.isBad(place, lo, hi) && this.#lists[place]?.writeErrorSeen === true;
  }

  /** [lo, hi) of the member does not hold what it should. False: that cannot be recorded. */
  record(place: number, lo: number, hi: number): boolean {
    const list = this.#lists[place] ?? null;
    if (list === null || !list.add(lo, hi)) return false;
    this.#next(place);
    list.recordedIn = this.#version;
    return true;
  }

  /** [lo, hi) of the member has been written. True: it was recorded as bad. */
  heal(place: number, lo: number, hi: number): boolean {
    if (!this.isBad(place, lo, hi) || this.#lists[place]?.remove(lo, hi) !== true) return false;
    this.#next(place);
    return true;
  }

  /** The members whose lists have changed since they were told; null: none has. */
  untold(): readonly BadBlocksOf[] | null {
    if (this.#told === this.#version) return null;
    this.#told = this.#version;
    return this.#lists.flatMap((list, place) => {
      if (list === null || this.#changed[place] === 0) return [];
      this.#changed[place] = 0;
      return [{ place, ranges: list.ranges() }];
    });
  }

  written(version: number): void {
    this.#durable = Math.max(this.#durable, version);
  }

  #next(place: number): void {
    this.#version++;
    this.#changed[place] = 1;
    this.#count();
  }

  #count(): void {
    this.#used = 0;
    for (const list of this.#lists) if (list !== null && !list.isEmpty) this.#used++;
  }
}
