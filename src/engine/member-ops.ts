/** Where an operation stands. `orphan`: its asker was told that no answer came, and the device still has it. */
const OpState = { free: 0, live: 1, orphan: 2 } as const;

/** In place of a result: the member has not answered in time. No errno of a device's. */
export const NO_ANSWER = -(1 << 20);

/**
 * Operations that devices have, each with the asker's tag and when it began: the ring is given the number of the entry
 * instead. So an operation can be given up: its asker is told that there is no answer, and what the device says later,
 * perhaps never, is nobody's. Until then its buffer must not be used for anything else.
 *
 * Arrays that double when they are full; live operations are linked in the order in which they began.
 */
export class MemberOps {
  #capacity = 0;
  #tag = new Uint32Array(0);
  #place = new Int32Array(0);
  #since = new Float64Array(0);
  #state = new Uint8Array(0);
  /** Of live operations: later and earlier ones. Of free ones: the next. */
  #next = new Int32Array(0);
  #previous = new Int32Array(0);
  #free = -1;
  #oldest = -1;
  #newest = -1;
  /** Operations that were given up and have not ended. */
  orphans = 0;

  /** The live operation that began first, -1 if there is none; and the one after `op`. */
  get oldest(): number {
    return this.#oldest;
  }

  after(op: number): number {
    return this.#next[op] ?? -1;
  }

  tagOf(op: number): number {
    return this.#tag[op] ?? 0;
  }

  placeOf(op: number): number {
    return this.#place[op] ?? 0;
  }

  /** Milliseconds of the clock. */
  sinceOf(op: number): number {
    return this.#since[op] ?? 0;
  }

  isLive(op: number): boolean {
    return this.#state[op] === OpState.live;
  }

  isOrphan(op: number): boolean {
    return this.#state[op] === OpState.orphan;
  }

  begin(place: number, tag: number, now: number): number {
    if (this.#free === -1) this.#grow();
    const op = this.#free;
    this.#free = this.#next[op] ?? -1;
    this.#place[op] = place;
    this.#tag[op] = tag;
    this.#since[op] = now;
    this.#state[op] = OpState.live;
    this.#next[op] = -1;
    this.#previous[op] = this.#newest;
    if (this.#newest === -1) this.#oldest = op;
    else this.#next[this.#newest] = op;
    this.#newest = op;
    return op;
  }

  /** A live operation is given up. */
  giveUp(op: number): void {
    this.#unlink(op);
    this.#state[op] = OpState.orphan;
    this.orphans++;
  }

  /** The device has answered; the entry is free again. */
  end(op: number): void {
    if (this.#state[op] === OpState.orphan) this.orphans--;
    else this.#unlink(op);
    this.#state[op] = OpState.free;
    this.#next[op] = this.#free;
    this.#free = op;
  }

  #unlink(op: number): void {
    const next = this.#next[op] ?? -1;
    const previous = this.#previous[op] ?? -1;
    if (previous === -1) this.#oldest = next;
    else this.#next[previous] = next;
    if (next === -1) this.#newest = previous;
    else this.#previous[next] = previous;
  }

  #grow(): void {
    const before = this.#capacity;
    const after = Math.max(256, 2 * before);
    const grown = <T extends Uint8Array | Uint32Array | Int32Array | Float64Array>(from: T, to: T): T => {
      to.set(from);
      return to;
    };
    this.#tag = grown(this.#tag, new Uint32Array(after));
    this.#place = grown(this.#place, new Int32Array(after));
    this.#since = grown(this.#since, new Float64Array(after));
    this.#state = grown(this.#state, new Uint8Array(after));
    this.#next = grown(this.#next, new Int32Array(after));
    this.#previous = grown(this.#previous, new Int32Array(after));
    for (let op = before; op < after; op++) this.#next[op] = op + 1 < after ? op + 1 : -1;
    this.#free = before;
    this.#capacity = after;
  }
}
