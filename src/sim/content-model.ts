import { readStamp } from "./stamp.ts";

/** A write (or a zeroing: then its value is 0) on its way. */
interface WriteInFlight {
  readonly life: string;
  readonly lo: number;
  readonly hi: number;
  readonly entry: Possible;
}

/** Something that a sector may hold. */
class Possible {
  readonly value: number;
  readonly life: string;
  readonly since: number;
  /** When it was acknowledged, or its fate sealed; infinite in flight. */
  until: number;
  acknowledged: boolean;
  /** When it was so first: what a power cut has not changed. */
  ended: number;
  /** What a sector may hold that can hold nothing else. */
  readonly alone: Choices = [this];

  constructor(value: number, life: string, since: number, until: number, acknowledged: boolean) {
    this.value = value;
    this.life = life;
    this.since = since;
    this.until = until;
    this.acknowledged = acknowledged;
    this.ended = until;
  }
}

/** Never changed but replaced: sectors that were written together share them, and readers keep what they began with. */
type Choices = readonly Possible[];

interface Reading {
  readonly lo: number;
  readonly hi: number;
  readonly since: number;
  /** For each sector what it could hold when the read began. */
  readonly allowed: readonly Choices[];
  /** Writes begun since. */
  readonly begun: WriteInFlight[];
}

const hasValue = (choices: Choices, value: number): boolean => {
  for (const one of choices) if (one.value === value) return true;
  return false;
};

const valuesOf = (choices: Choices): string => [...new Set(choices.map(({ value }) => value))].join(", ");

/**
 * What a disk of the promised kind may hold, sector by sector, after the requests seen so far. A plain model: sets of
 * possible values, narrowed by each acknowledgement.
 *
 *  - An acknowledged write replaces what was settled before it began. Writes that overlap it in time stay possible.
 *  - A write that was never acknowledged may have happened or not.
 *  - A power cut leaves the newest value that a FLUSH or FUA of the same node covered, or anything since.
 */
export class ContentModel {
  /** By sector: what reads may return. */
  readonly #now: Choices[];
  /** By sector: what may be left by a power cut. */
  readonly #afterPowerCut: Choices[];
  /** Sectors of which a power cut may leave several things. */
  readonly #uncertain = new Set<number>();
  /** By sector: what a read has ruled out by what it saw. */
  readonly #ruledOut = new Map<number, Choices>();
  readonly #inFlight = new Map<number, WriteInFlight>();
  readonly #readings = new Map<number, Reading>();
  /** Counts steps, so that "before" needs no clock. */
  #step = 0;

  constructor(sectors: number) {
    const zero = new Possible(0, "", 0, 0, true);
    this.#now = new Array<Choices>(sectors).fill(zero.alone);
    this.#afterPowerCut = new Array<Choices>(sectors).fill(zero.alone);
  }

  /** The step now: to be given to `flushed` later. */
  get step(): number {
    return this.#step;
  }

  beginWrite(id: number, life: string, lo: number, hi: number, value: number): void {
    const entry = new Possible(value, life, ++this.#step, Number.POSITIVE_INFINITY, false);
    const flight = { life, lo, hi, entry };
    this.#inFlight.set(id, flight);
    for (let sector = lo; sector < hi; sector++) {
      const now = this.#now[sector] ?? [];
      const after = this.#afterPowerCut[sector] ?? [];
      const larger = [...now, entry];
      this.#now[sector] = larger;
      this.#afterPowerCut[sector] = now === after ? larger : [...after, entry];
      this.#uncertain.add(sector);
    }
    for (const reading of this.#readings.values()) if (lo < reading.hi && reading.lo < hi) reading.begun.push(flight);
  }

  /** Acknowledged; `durable`: with FUA. Of a write whose fate is sealed already: no effect. */
  endWrite(id: number, durable: boolean): void {
    const flight = this.#seal(id);
    if (flight === null) return;
    const { lo, hi, entry } = flight;
    entry.acknowledged = true;
    for (let sector = lo; sector < hi; sector++) {
      this.#now[sector] = prune(this.#now[sector] ?? [], entry);
      const ruledOut = this.#ruledOut.get(sector);
      if (ruledOut !== undefined) this.#ruledOut.set(sector, prune(ruledOut, entry));
      if (durable) this.#cover(sector, entry);
    }
  }

  /** It failed, or its node is gone: it has happened or not, and will not happen later. */
  abandonWrite(id: number): void {
    this.#seal(id);
  }

  abandonLife(life: string): void {
    for (const [id, flight] of this.#inFlight) if (flight.life === life) this.#seal(id);
  }

  /** A flush by `life` that began at step `begun` has been acknowledged. */
  flushed(life: string, begun: number): void {
    for (const sector of this.#uncertain) {
      const covered = this.#afterPowerCut[sector]?.findLast(
        (one) => one.life === life && one.acknowledged && one.until <= begun,
      );
      if (covered !== undefined) this.#cover(sector, covered);
    }
  }

  #cover(sector: number, entry: Possible): void {
    const left = prune(this.#afterPowerCut[sector] ?? [], entry);
    this.#afterPowerCut[sector] = left;
    if (left.length < 2) this.#uncertain.delete(sector);
  }

  powerCut(): void {
    for (const id of this.#inFlight.keys()) this.#seal(id);
    this.#readings.clear();
    this.#ruledOut.clear();
    const at = ++this.#step;
    for (const [sector, entries] of this.#afterPowerCut.entries()) {
      // What is left is on the platters: a later power cut cannot bring anything else back.
      const left = entries.map((one) => {
        const kept = new Possible(one.value, one.life, one.since, at, one.acknowledged);
        kept.ended = one.ended;
        return kept;
      });
      this.#afterPowerCut[sector] = left;
      this.#now[sector] = left;
    }
  }

  /** A mirror failed that reads were served from: another may hold what they had ruled out, where nothing was promised. */
  mirrorLost(): void {
    for (const [sector, entries] of this.#ruledOut) this.#now[sector] = [...(this.#now[sector] ?? []), ...entries];
    this.#ruledOut.clear();
  }

  beginRead(id: number, lo: number, hi: number): void {
    this.#readings.set(id, { lo, hi, since: this.#step, allowed: this.#now.slice(lo, hi), begun: [] });
  }

  /**
   * `settles`: what this read saw is what all later ones must see, unless a write overlapped it: that may have landed
   * just after it. Returns what is wrong, or null.
   */
  endRead(id: number, content: Uint8Array, settles: (sector: number) => boolean): string | null {
    const reading = this.#readings.get(id);
    this.#readings.delete(id);
    if (reading === undefined) return null;
    const words = new Uint32Array(content.buffer, content.byteOffset, content.byteLength / 4);
    const { lo, hi, since, allowed, begun } = reading;
    for (let sector = lo; sector < hi; sector++) {
      const value = readStamp(words, sector - lo, sector);
      const choices = allowed[sector - lo] ?? [];
      const later = begun.filter((flight) => flight.lo <= sector && sector < flight.hi).map(({ entry }) => entry);
      if (value === null || !(hasValue(choices, value) || hasValue(later, value))) {
        return `sector ${sector} read as ${value ?? "a mixture"}, possible are ${valuesOf([...choices, ...later])}`;
      }
      const wasQuiet = (this.#now[sector] ?? []).every(({ ended }) => ended <= since);
      if (wasQuiet && settles(sector)) this.#collapse(sector, value);
    }
    return null;
  }

  dropRead(id: number): void {
    this.#readings.delete(id);
  }

  /** Null if the `index`th sector of `words` is something that `sector` may hold now. */
  judge(sector: number, words: Uint32Array, index: number): string | null {
    const value = readStamp(words, index, sector);
    const possible = this.#now[sector] ?? [];
    if (value !== null && hasValue(possible, value)) return null;
    return `sector ${sector} holds ${value ?? "a mixture"}, possible are ${valuesOf(possible)}`;
  }

  /** May it hold either of two writes that two nodes had under way at once? Then its copies may differ (decision 23). */
  isContested(sector: number): boolean {
    const entries = this.#now[sector] ?? [];
    if (entries.length < 2) return false;
    return entries.some((one) => entries.some((other) => one.life !== other.life && overlap(one, other)));
  }

  /** Lives whose unacknowledged writes the sector may or may not hold. */
  doubtfulLives(sector: number): readonly string[] {
    const entries = this.#now[sector] ?? [];
    return entries.length < 2 ? nobody : entries.filter((one) => !one.acknowledged).map(({ life }) => life);
  }

  #collapse(sector: number, value: number): void {
    const entries = this.#now[sector] ?? [];
    const seen = entries.find((one) => one.value === value);
    if (seen === undefined || entries.length === 1) return;
    const others = entries.filter((one) => one !== seen);
    this.#ruledOut.set(sector, [...(this.#ruledOut.get(sector) ?? []), ...others]);
    this.#now[sector] = seen.alone;
  }

  #seal(id: number): WriteInFlight | null {
    const flight = this.#inFlight.get(id);
    if (flight === undefined) return null;
    this.#inFlight.delete(id);
    flight.entry.until = ++this.#step;
    flight.entry.ended = flight.entry.until;
    return flight;
  }
}

const nobody: readonly string[] = [];

const overlap = (one: Possible, other: Possible): boolean => one.ended >= other.since && other.ended >= one.since;

/** Without what was over before `by` began. */
function prune(entries: Choices, by: Possible): Choices {
  let left = 0;
  for (const one of entries) if (one === by || one.until >= by.since) left++;
  if (left === entries.length) return entries;
  if (left === 1 && entries.includes(by)) return by.alone;
  return entries.filter((one) => one === by || one.until >= by.since);
}
