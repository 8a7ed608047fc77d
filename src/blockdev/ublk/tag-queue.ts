/** Tags in order, each at most once: first in, first out, without allocation. */
export class TagQueue {
  readonly #tags: Int32Array;
  #first = 0;
  #length = 0;

  constructor(capacity: number) {
    this.#tags = new Int32Array(capacity);
  }

  get isEmpty(): boolean {
    return this.#length === 0;
  }

  push(tag: number): void {
    this.#tags[(this.#first + this.#length) % this.#tags.length] = tag;
    this.#length++;
  }

  /** -1: none. */
  shift(): number {
    if (this.#length === 0) return -1;
    const tag = this.#tags[this.#first] as number;
    this.#first = (this.#first + 1) % this.#tags.length;
    this.#length--;
    return tag;
  }

  /** Back to the front. */
  unshift(tag: number): void {
    this.#first = (this.#first + this.#tags.length - 1) % this.#tags.length;
    this.#tags[this.#first] = tag;
    this.#length++;
  }
}
