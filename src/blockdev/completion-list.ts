import type { Tag } from "./io-ring.ts";

/** Completions in order of arrival, until they are reaped. Grows to the most that ever waited. */
export class CompletionList {
  #tags = new Uint32Array(256);
  #results = new Int32Array(256);
  #count = 0;

  get empty(): boolean {
    return this.#count === 0;
  }

  add(tag: Tag, result: number): void {
    if (this.#count === this.#tags.length) this.#grow();
    this.#tags[this.#count] = tag;
    this.#results[this.#count] = result;
    this.#count++;
  }

  /** Moves as many as fit; the number moved. */
  take(tags: Uint32Array, results: Int32Array): number {
    const count = Math.min(this.#count, tags.length);
    // By hand: for the few that there are, it is cheaper than two views.
    for (let i = 0; i < count; i++) {
      tags[i] = this.#tags[i] as number;
      results[i] = this.#results[i] as number;
    }
    if (count < this.#count) {
      this.#tags.copyWithin(0, count, this.#count);
      this.#results.copyWithin(0, count, this.#count);
    }
    this.#count -= count;
    return count;
  }

  #grow(): void {
    const tags = new Uint32Array(this.#count * 2);
    const results = new Int32Array(this.#count * 2);
    tags.set(this.#tags);
    results.set(this.#results);
    this.#tags = tags;
    this.#results = results;
  }
}
