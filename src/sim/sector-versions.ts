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

const WORDS = SECTOR_SIZE / 4;

const same = (a: Uint8Array, b: Uint8Array): boolean => {
  for (let i = 0; i < SECTOR_SIZE; i++) if (a[i] !== b[i]) return false;
  return true;
};

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
  readonly #listeners: ((sector: number) => void)[] = [];

  constructor(sectors: number) {
    this.#current = new Uint8Array(sectors * SECTOR_SIZE);
    this.#words = new Uint32Array(this.#current.buffer);
    this.#durable = new Uint8Array(sectors * SECTOR_SIZE);
  }

  /** Called for each sector whose content, or what may become of it at a power cut, has changed. */
  onChange(listener: (sector: number) => void): void {
    this.#listeners.push(listener);
  }

  read(at: number, target: Uint8Array): void {
    target.set(this.#current.subarray(at * SECTOR_SIZE, at * SECTOR_SIZE + target.byteLength));
  }

  /** The sector as reads see it: not a copy. */
  current(sector: number): Uint8Array {
    return this.#current.subarray(sector * SECTOR_SIZE, (sector + 1) * SECTOR_SIZE);
  }

  /** Does another disk hold the same here, as reads see it? */
  equals(other: SectorVersions, sector: number): boolean {
    const theirs = other.#words;
    for (let i = sector * WORDS; i < (sector + 1) * WORDS; i++) if (this.#words[i] !== theirs[i]) return false;
    return true;
  }

  durable(sector: number): Uint8Array {
    return this.#durable.subarray(sector * SECTOR_SIZE, (sector + 1) * SECTOR_SIZE);
  }

  /** Would a power cut leave just what reads see now? */
  isSafe(sector: number): boolean {
    return !this.#unsafe.has(sector);
  }

  /** Everything that the sector may hold after a power cut. */
  *outcomes(sector: number): Generator<Uint8Array> {
    yield this.durable(sector);
    for (const { bytes } of this.#unsafe.get(sector) ?? []) yield bytes;
  }

  land(sector: number, bytes: Uint8Array, origin: VersionOrigin): void {
    const older = this.#unsafe.get(sector);
    if (older === undefined && same(bytes, this.durable(sector))) return;
    this.#current.set(bytes, sector * SECTOR_SIZE);
    const version = { bytes: bytes.slice(), origin };
    if (older === undefined) this.#unsafe.set(sector, [version]);
    else older.push(version);
    this.#changed(sector);
  }

  /** What `origin` wrote in [lo, hi) is safe. */
  makeDurable(lo: number, hi: number, origin: VersionOrigin): void {
    for (let sector = lo; sector < hi; sector++) this.#settle(sector, (version) => version.origin === origin);
  }

  /** Every version whose write had completed by then is safe. */
  flush(completed: number): void {
    for (const sector of [...this.#unsafe.keys()]) {
      this.#settle(sector, (version) => version.origin.completed <= completed);
    }
  }

  /** Each sector keeps one of its possible contents, chosen by chance. */
  powerCut(random: SeededRandom): void {
    for (const [sector, versions] of [...this.#unsafe]) {
      const kept = random.integer(0, versions.length + 1);
      const version = versions[kept - 1];
      if (version !== undefined) this.#durable.set(version.bytes, sector * SECTOR_SIZE);
      this.#current.set(this.durable(sector), sector * SECTOR_SIZE);
      this.#unsafe.delete(sector);
      this.#changed(sector);
    }
  }

  /** The newest version that `isSettled` takes the place of everything older. */
  #settle(sector: number, isSettled: (version: Version) => boolean): void {
    const versions = this.#unsafe.get(sector);
    if (versions === undefined) return;
    const newest = versions.findLastIndex(isSettled);
    const version = versions[newest];
    if (version === undefined) return;
    this.#durable.set(version.bytes, sector * SECTOR_SIZE);
    if (newest === versions.length - 1) this.#unsafe.delete(sector);
    else versions.splice(0, newest + 1);
    this.#changed(sector);
  }

  #changed(sector: number): void {
    for (const listener of this.#listeners) listener(sector);
  }
}
