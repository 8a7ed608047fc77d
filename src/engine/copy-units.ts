/** free; waits for its range; has it; reads its source; is to be written; waits for its bits; is being written. */
export const UnitState = { free: 0, locking: 1, locked: 2, reading: 3, read: 4, recording: 5, writing: 6 } as const;

/** What is done with a unit: its transfers, piece by piece. */
export interface UnitWork {
  /** Reads the unit's next piece. */
  start(unit: number): void;
  /** Is there anything to do in the range that begins at `at`? */
  hasTargets(at: number): boolean;
  completion(index: number, result: number): void;
  /** Writes what was found out by reading, at once or when its bits are durable (`recording`). The lease holds. */
  write(unit: number): void;
  /** Writes again what was short, to members that still take it. The lease holds. */
  writeAgain(unit: number): void;
  /** Gives up writes that are to be issued again. True: nothing of the unit is in flight now. */
  dropAgain(unit: number): boolean;
}

/** Ranges that are being copied, and the piece of each that is at work, as typed arrays. */
export class CopyUnits {
  readonly count: number;
  readonly bytes: number;
  /** Array sectors. */
  readonly lo: Float64Array;
  readonly hi: Float64Array;
  /** Where the piece at work begins, and its sectors. */
  readonly at: Float64Array;
  readonly piece: Float64Array;
  /** Sectors that a piece may have: all, until a source could not be read. */
  readonly limit: Float64Array;
  readonly state: Uint8Array;
  /** Some piece could not be copied. */
  readonly failed: Uint8Array;
  /** A target of the piece at work did not take it. */
  readonly pieceFailed: Uint8Array;
  /** The piece at work is to be copied once more, in smaller ones. */
  readonly repeats: Uint8Array;
  /** Legs of the piece at work. */
  readonly legs: Int32Array;
  readonly legsPending: Int32Array;
  readonly legDisk: Int32Array;
  readonly legAt: Float64Array;
  readonly legDone: Float64Array;
  readonly legState: Uint8Array;
  readonly legAttempts: Uint16Array;
  /** Copies that could not give the piece. */
  readonly unreadable: Uint8Array;
  /** Operations that were given up and may still use the buffer. */
  readonly #retired: Uint16Array;
  readonly #width: number;
  readonly #arenaAt: number;

  /** `count` units of `bytes` bytes of the arena each, from `arenaAt` on; `width` legs. */
  constructor(count: number, width: number, arenaAt: number, bytes: number) {
    this.count = count;
    this.bytes = bytes;
    this.#width = width;
    this.#arenaAt = arenaAt;
    this.lo = new Float64Array(count);
    this.hi = new Float64Array(count);
    this.at = new Float64Array(count);
    this.piece = new Float64Array(count);
    this.limit = new Float64Array(count);
    this.state = new Uint8Array(count);
    this.failed = new Uint8Array(count);
    this.pieceFailed = new Uint8Array(count);
    this.repeats = new Uint8Array(count);
    this.legs = new Int32Array(count);
    this.legsPending = new Int32Array(count);
    this.legDisk = new Int32Array(count * width);
    this.legAt = new Float64Array(count * width);
    this.legDone = new Float64Array(count * width);
    this.legState = new Uint8Array(count * width);
    this.legAttempts = new Uint16Array(count * width);
    this.#retired = new Uint16Array(count);
    this.unreadable = new Uint8Array(count * width);
  }

  /** Units that are not free. */
  get active(): number {
    let active = 0;
    for (const state of this.state) if (state !== UnitState.free) active++;
    return active;
  }

  /** Units at work at a time. One more is in reserve, for when others cannot be used. */
  get usual(): number {
    return this.count - 1;
  }

  /** One that is free, -1 for none. */
  free(): number {
    let isReserveNeeded = false;
    for (let unit = 0; unit < this.count; unit++) {
      const isRetired = this.#retired[unit] !== 0;
      const mayTake = unit < this.usual || isReserveNeeded;
      if (mayTake && !isRetired && this.state[unit] === UnitState.free) return unit;
      isReserveNeeded ||= isRetired;
    }
    return -1;
  }

  /** A member that hangs may use the buffer until the returned function is called. */
  retire(unit: number): () => void {
    this.#retired[unit] = (this.#retired[unit] ?? 0) + 1;
    return () => {
      this.#retired[unit] = (this.#retired[unit] ?? 0) - 1;
    };
  }

  /** Arena offset of its buffer. */
  buffer(unit: number): number {
    return this.#arenaAt + unit * this.bytes;
  }

  begin(unit: number, lo: number, hi: number): void {
    this.lo[unit] = lo;
    this.hi[unit] = hi;
    this.at[unit] = lo;
    this.limit[unit] = hi - lo;
    this.failed[unit] = 0;
    this.repeats[unit] = 0;
    this.state[unit] = UnitState.locking;
    this.forgetUnreadable(unit);
  }

  forgetUnreadable(unit: number): void {
    this.unreadable.fill(0, unit * this.#width, (unit + 1) * this.#width);
  }

  /** The lowest start of any that is not free; `none` if all are. */
  lowest(none: number): number {
    let lowest = none;
    for (let unit = 0; unit < this.count; unit++) {
      if (this.state[unit] !== UnitState.free) lowest = Math.min(lowest, this.lo[unit] ?? 0);
    }
    return lowest;
  }

  /** Does any transfer that is in flight touch [lo, hi)? */
  isAtWorkIn(lo: number, hi: number): boolean {
    for (let unit = 0; unit < this.count; unit++) {
      if ((this.state[unit] ?? 0) < UnitState.reading) continue;
      if ((this.lo[unit] ?? 0) < hi && lo < (this.hi[unit] ?? 0)) return true;
    }
    return false;
  }
}
