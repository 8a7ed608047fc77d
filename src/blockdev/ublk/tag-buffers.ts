/**
 * The buffers of a device's tags, all of one size. One that the array keeps, because a device that does not answer may
 * still use it, is replaced from those that are to spare.
 */
export class TagBuffers {
  /** Arena offset by tag; -1: the array has kept it, and there was no other. */
  readonly #of: Int32Array;
  readonly #spare: Int32Array;
  #spares: number;

  /** As many as fit `arenaBytes` from `arenaAt` on, at least one a tag. */
  constructor(arenaAt: number, arenaBytes: number, bufferBytes: number, tags: number) {
    const buffers = Math.floor(arenaBytes / bufferBytes);
    const offset = (index: number): number => arenaAt + index * bufferBytes;
    this.#of = Int32Array.from({ length: tags }, (_, tag) => offset(tag));
    // Others may come back before one of these is taken: there is room for all.
    this.#spare = Int32Array.from({ length: buffers }, (_, i) => (i < buffers - tags ? offset(tags + i) : -1));
    this.#spares = buffers - tags;
  }

  /** The tag's; one to spare, if it has none; -1. */
  of(tag: number): number {
    if ((this.#of[tag] as number) === -1) this.#of[tag] = this.#take();
    return this.#of[tag] as number;
  }

  /** The tag's stays with the array. `another`: only if there is another, which is returned; else -1. */
  keep(tag: number, another: boolean): number {
    const fresh = another ? this.#take() : -1;
    if (!another || fresh !== -1) this.#of[tag] = fresh;
    return fresh;
  }

  giveBack(buffer: number): void {
    this.#spare[this.#spares++] = buffer;
  }

  #take(): number {
    return this.#spares === 0 ? -1 : (this.#spare[--this.#spares] as number);
  }
}
