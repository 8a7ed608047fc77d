import type { Tag } from "./io-ring.ts";

/** Completions in order of arrival, until they are reaped. Grows to the most that ever waited. */
export class CompletionList {
  #tags = new Uint32Array(256);
  #results = new Int32Array(256);
  #count = 0;

  add(tag: Tag, result: number): void {
    if (this.#count === this.#tags.length) {
      const tags = new Uint32Array(this.#count * 2);
      const results = new Int32Array(this.#count * 2);
      tags.set(this.#tags);
      results.set(this.#results);
      this.#tags = tags;
      this.#results = results;
    }
    this.#tags[this.#count] = tag;
    this.#results[this.#count] = result;
    this.#count++;
  }

  /** Moves as many as fit; the number moved. */
  take(tags: Uint32Array, results: Int32Array): number {
    const count = Math.min(this.#count, tags.length);
    tags.set(this.#tags.subarray(0, count));
    results.set(this.#results.subarray(0, count));
    this.#tags.copyWithin(0, count, this.#count);
    this.#results.copyWithin(0, count, this.#count);
    this.#count -= count;
    return count;
  }
}
