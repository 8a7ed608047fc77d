import { SECTOR_SIZE } from "../base/units.ts";
import type { SeededRandom } from "./random.ts";

/** The write that made a version. */
export interface VersionOrigin {
  /** Counts completions of the disk; infinite before. */
  readonly completed: number;
}

interface Version {
  readonly bytes: Uint8Array;
  readonly origin: VersionOrigin;
}

/** Told of [lo, hi): its content, or what may become of it at a power cut, has changed. */
export type ChangeListener = (lo: number, hi: number) => void;

const WORDS = SECTOR_SIZE / 4;

/**
 * The content of a disk with a volatile cache: for each sector what surely survives a power cut, and the versions
 * written since, any of which may. The newest is what reads see.
 */
export class SectorVersions {
  readonly #current: Uint8Array;
  /** The same memory: sectors are compared often. */
  readonly #words: Uint32Array;
  readonly #durable: Uint8Array;
  readonly #unsafe = new Map<number, Version[]>();
  readonly #listeners: ChangeListener[] = [];
  /** Sectors that no version uses any more. */
  readonly #spare: Uint8Array[] = [];

  constructor(sectors: number) {
    this.#current = new Uint8Array(sectors * SECTOR_SIZE);
    this.#words = new Uint32Array(this.#current.buffer);
    this.#durable = new Uint8Array(sectors * SECTOR_SIZE);
  }

  onChange(listener: ChangeListener): void {
    this.#listeners.push(listener);
  }

  read(at: number, target: Uint8Array): void {
    target.set(this.#current.subarray(at * SECTOR_SIZE, at * SECTOR_SIZE + target.byteLength));
  }

  /** The sector as reads see it: not a copy. */
  current(sector: number): Uint8Array {
    return this.#current.subarray(sector * SECTOR_SIZE, (sector + 1) * SECTOR_SIZE);
  }

  /** All sectors as reads see them, in words of the host: not a copy. */
  get words(): Uint32Array {
    return this.#words;
  }

  /** Do reads see the same in our `sector` as in the other's `theirSector`? */
  equals(other: SectorVersions, sector: number, theirSector = sector): boolean {
    const ours = this.#words;
    const theirs = other.#words;
    const shift = (theirSector - sector) * WORDS;
    for (let i = sector * WORDS; i < (sector + 1) * WORDS; i++) if (ours[i] !== theirs[i + shift]) return false;
    return true;
  }

  durable(sector: number): Uint8Array {
    return this.#durable.subarray(sector * SECTOR_SIZE, (sector + 1) * SECTOR_SIZE);
  }

  /** Would a power cut leave just what reads see now? */
  isSafe(sector: number): boolean {
    return !this.#unsafe.has(sector);
  }

  /** Everything that the sector may hold after a power cut, valid until the next change. */
  *outcomes(sector: number): Generator<Uint8Array> {
    yield this.durable(sector);
    for (const { bytes } of this.#unsafe.get(sector) ?? []) yield bytes;
  }

  /** `origin` writes [lo, hi), from `source` at byte `from`. */
  land(lo: number, hi: number, source: Uint8Array, from: number, origin: VersionOrigin): void {
    for (let sector = lo; sector < hi; sector++)
      this.#landOne(sector, source, from + (sector - lo) * SECTOR_SIZE, origin);
    this.#changed(lo, hi);
  }

  #landOne(sector: number, source: Uint8Array, from: number, origin: VersionOrigin): void {
    const older = this.#unsafe.get(sector);
    if (older === undefined && this.#isDurable(sector, source, from)) return;
    const bytes = this.#spare.pop() ?? new Uint8Array(SECTOR_SIZE);
    bytes.set(source.subarray(from, from + SECTOR_SIZE));
    this.#current.set(bytes, sector * SECTOR_SIZE);
    if (older === undefined) this.#unsafe.set(sector, [{ bytes, origin }]);
    else older.push({ bytes, origin });
  }

  #isDurable(sector: number, source: Uint8Array, from: number): boolean {
    const durable = this.#durable;
    const base = sector * SECTOR_SIZE;
    for (let i = 0; i < SECTOR_SIZE; i++) if (durable[base + i] !== source[from + i]) return false;
    return true;
  }

  /** What `origin` wrote in [lo, hi) is safe. */
  makeDurable(lo: number, hi: number, origin: VersionOrigin): void {
    for (let sector = lo; sector < hi; sector++) {
      const versions = this.#unsafe.get(sector);
      if (versions === undefined) continue;
      this.#settle(
        sector,
        versions,
        versions.findLastIndex((version) => version.origin === origin),
      );
    }
    this.#changed(lo, hi);
  }

  /** Every version whose write had completed by then is safe. */
  flush(completed: number): void {
    for (const [sector, versions] of this.#unsafe) {
      let newest = versions.length - 1;
      while (newest >= 0 && (versions[newest]?.origin.completed ?? 0) > completed) newest--;
      if (this.#settle(sector, versions, newest)) this.#changed(sector, sector + 1);
    }
  }

  /** Each sector keeps one of its possible contents, chosen by chance. */
  powerCut(random: SeededRandom): void {
    for (const [sector, versions] of this.#unsafe) {
      const kept = random.integer(0, versions.length + 1) - 1;
      this.#settle(sector, versions, kept);
      for (const { bytes } of versions) this.#spare.push(bytes);
      this.#unsafe.delete(sector);
      this.#current.set(this.durable(sector), sector * SECTOR_SIZE);
      this.#changed(sector, sector + 1);
    }
  }

  /** The version `newest` takes the place of everything older. False: there is none. */
  #settle(sector: number, versions: Version[], newest: number): boolean {
    const version = versions[newest];
    if (version === undefined) return false;
    this.#durable.set(version.bytes, sector * SECTOR_SIZE);
    for (const { bytes } of versions.splice(0, newest + 1)) this.#spare.push(bytes);
    if (versions.length === 0) this.#unsafe.delete(sector);
    return true;
  }

  #changed(lo: number, hi: number): void {
    for (const listener of this.#listeners) listener(lo, hi);
  }
}
