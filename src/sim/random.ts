import type { Random } from "../env/random.ts";

/** A seeded generator (sfc32): the same seed gives the same numbers on every machine. */
export class SeededRandom implements Random {
  #a: number;
  #b: number;
  #c: number;
  #counter = 1;

  constructor(seed: number) {
    this.#a = seed >>> 0;
    this.#b = Math.floor(seed / 2 ** 32) >>> 0;
    this.#c = 0x9e3779b9;
    for (let round = 0; round < 12; round++) this.#word();
  }

  next(): number {
    return this.#word() / 2 ** 32;
  }

  bytes(size: number): Uint8Array {
    return Uint8Array.from({ length: size }, () => this.#word() & 0xff);
  }

  /** Uniform over lo, lo + 1, ... hi - 1. */
  integer(lo: number, hi: number): number {
    return lo + Math.floor(this.next() * (hi - lo));
  }

  between(lo: number, hi: number): number {
    return lo + this.next() * (hi - lo);
  }

  chance(probability: number): boolean {
    return this.next() < probability;
  }

  pick<T>(items: readonly T[]): T {
    const item = items[this.integer(0, items.length)];
    if (item === undefined) throw new RangeError("nothing to pick from");
    return item;
  }

  /** A generator of its own: drawing from it does not shift what this one gives. */
  fork(): SeededRandom {
    return new SeededRandom(this.#word() * 2 ** 21 + (this.#word() >>> 11));
  }

  #word(): number {
    const sum = (this.#a + this.#b + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + sum) | 0;
    return sum >>> 0;
  }
}
