import { readStamp } from "./stamp.ts";

/** A write (or a zeroing: then `value` is 0) on its way. */
interface WriteInFlight {
  readonly life: string;
  readonly lo: number;
  readonly hi: number;
  readonly value: number;
  readonly since: number;
}

/** Something that a sector may hold. */
interface Possible {
  readonly value: number;
  readonly life: string;
  readonly since: number;
  /** When it was acknowledged, or its fate sealed; infinite in flight. */
  until: number;
  acknowledged: boolean;
}

interface Reading {
  readonly lo: number;
  readonly hi: number;
  /** For each sector what the read may return. */
  readonly allowed: Set<number>[];
}

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
  readonly #now: Possible[][];
  /** By sector: what may be left by a power cut. */
  readonly #afterPowerCut: Possible[][];
  /** By sector: what a read has ruled out by what it saw. */
  readonly #ruledOut: Possible[][];
  readonly #inFlight = new Map<number, { readonly write: WriteInFlight; readonly entry: Possible }>();
  readonly #readings = new Map<number, Reading>();
  /** Counts steps, so that "before" needs no clock. */
  #step = 0;

  constructor(sectors: number) {
    const zero: Possible = { value: 0, life: "", since: 0, until: 0, acknowledged: true };
    this.#now = Array.from({ length: sectors }, () => [zero]);
    this.#afterPowerCut = Array.from({ length: sectors }, () => [zero]);
    this.#ruledOut = Array.from({ length: sectors }, () => []);
  }

  /** The step now: to be given to `flushed` later. */
  get step(): number {
    return this.#step;
  }

  beginWrite(id: number, life: string, lo: number, hi: number, value: number): void {
    const since = ++this.#step;
    const entry: Possible = { value, life, since, until: Number.POSITIVE_INFINITY, acknowledged: false };
    this.#inFlight.set(id, { write: { life, lo, hi, value, since }, entry });
    for (let sector = lo; sector < hi; sector++) {
      this.#now[sector]?.push(entry);
      this.#afterPowerCut[sector]?.push(entry);
    }
    for (const reading of this.#readings.values()) {
      for (let sector = Math.max(lo, reading.lo); sector < Math.min(hi, reading.hi); sector++) {
        reading.allowed[sector - reading.lo]?.add(value);
      }
    }
  }

  /** Acknowledged; `durable`: with FUA. Of a write whose fate is sealed already: no effect. */
  endWrite(id: number, durable: boolean): void {
    const flight = this.#seal(id);
    if (flight === null) return;
    flight.entry.acknowledged = true;
    for (let sector = flight.write.lo; sector < flight.write.hi; sector++) {
      prune(this.#now[sector], flight.entry);
      prune(this.#ruledOut[sector], flight.entry);
      if (durable) prune(this.#afterPowerCut[sector], flight.entry);
    }
  }

  /** It failed, or its node is gone: it has happened or not, and will not happen later. */
  abandonWrite(id: number): void {
    this.#seal(id);
  }

  abandonLife(life: string): void {
    for (const [id, { write }] of [...this.#inFlight]) if (write.life === life) this.#seal(id);
  }

  /** A flush by `life` that began at step `begun` has been acknowledged. */
  flushed(life: string, begun: number): void {
    for (const entries of this.#afterPowerCut) {
      const covered = entries.findLast((one) => one.life === life && one.acknowledged && one.until <= begun);
      if (covered !== undefined) prune(entries, covered);
    }
  }

  powerCut(): void {
    for (const id of [...this.#inFlight.keys()]) this.#seal(id);
    this.#readings.clear();
    const at = ++this.#step;
    for (const [sector, entries] of this.#afterPowerCut.entries()) {
      // What is left is on the platters: a later power cut cannot bring anything else back.
      const left = entries.map((entry) => ({ ...entry, until: at }));
      this.#afterPowerCut[sector] = left;
      this.#now[sector] = [...left];
      this.#ruledOut[sector] = [];
    }
  }

  /** A mirror failed that reads were served from: another may hold what they had ruled out, where nothing was promised. */
  mirrorLost(): void {
    for (const [sector, entries] of this.#ruledOut.entries()) this.#now[sector]?.push(...entries.splice(0));
  }

  beginRead(id: number, lo: number, hi: number): void {
    const allowed: Set<number>[] = [];
    for (let sector = lo; sector < hi; sector++) allowed.push(new Set(this.#values(sector)));
    this.#readings.set(id, { lo, hi, allowed });
  }

  /** `settles`: what this read saw is what all later ones must see. Returns what is wrong, or null. */
  endRead(id: number, content: Uint8Array, settles: (sector: number) => boolean): string | null {
    const reading = this.#readings.get(id);
    this.#readings.delete(id);
    if (reading === undefined) return null;
    for (const [i, allowed] of reading.allowed.entries()) {
      const sector = reading.lo + i;
      const value = readStamp(content.subarray(i * 512, (i + 1) * 512), sector);
      if (value === null || !allowed.has(value)) {
        return `sector ${sector} read as ${value ?? "a mixture"}, possible are ${[...allowed].join(", ")}`;
      }
      if (settles(sector)) this.#collapse(sector, value);
    }
    return null;
  }

  dropRead(id: number): void {
    this.#readings.delete(id);
  }

  /** Null if `content` is something that the sector may hold now. */
  judge(sector: number, content: Uint8Array): string | null {
    const value = readStamp(content, sector);
    const possible = this.#values(sector);
    if (value !== null && possible.includes(value)) return null;
    return `sector ${sector} holds ${value ?? "a mixture"}, possible are ${possible.join(", ")}`;
  }

  /** Whether anything is still on its way to the sector. */
  isQuiet(sector: number): boolean {
    return (this.#now[sector] ?? []).every(({ until }) => until !== Number.POSITIVE_INFINITY);
  }

  /** Lives whose unacknowledged writes the sector may or may not hold. */
  doubtfulLives(sector: number): readonly string[] {
    const entries = this.#now[sector] ?? [];
    return entries.length < 2 ? [] : entries.filter((one) => !one.acknowledged).map(({ life }) => life);
  }

  #values(sector: number): readonly number[] {
    return (this.#now[sector] ?? []).map(({ value }) => value);
  }

  #collapse(sector: number, value: number): void {
    const entries = this.#now[sector];
    const seen = entries?.find((one) => one.value === value);
    if (entries === undefined || seen === undefined || entries.length === 1) return;
    this.#ruledOut[sector]?.push(...entries.filter((one) => one !== seen));
    entries.splice(0, entries.length, seen);
  }

  #seal(id: number): { readonly write: WriteInFlight; readonly entry: Possible } | null {
    const flight = this.#inFlight.get(id);
    if (flight === undefined) return null;
    this.#inFlight.delete(id);
    flight.entry.until = ++this.#step;
    return flight;
  }
}

/** Drops what was over before `by` began. */
function prune(entries: Possible[] | undefined, by: Possible): void {
  if (entries === undefined) return;
  const left = entries.filter((one) => one === by || one.until >= by.since);
  entries.splice(0, entries.length, ...left);
}
