/**
 * Memory that both planes see: the lease deadline, written by the control plane and read by the loop once per turn,
 * and counters, written by the loop and read when somebody asks. One writer per cell.
 */
const COUNTERS_AT = 64;

/** Names are those of `mdctl info` and the metrics. Bytes are counted in sectors: a double holds them exactly. */
export const engineCounters = [
  "readOps",
  "writeOps",
  "flushOps",
  "zeroOps",
  "readSectors",
  "writeSectors",
  "inflight",
  "readErrors",
  "writeErrors",
  "bitmapWrites",
  "copiedSectors",
  "waitingOnSuspend",
  "waitingOnFailure",
  "waitingOnLease",
  "dirtyChunks",
  "neededChunks",
  "turns",
  "correctedSectors",
] as const;

export type EngineCounter = (typeof engineCounters)[number];

export class SharedBlock {
  static readonly BYTES = COUNTERS_AT + engineCounters.length * 8;
  readonly memory: SharedArrayBuffer;
  readonly #lease: Float64Array;
  readonly #revoked: Float64Array;
  readonly #pill: Float64Array;
  readonly #turn: Float64Array;
  readonly #counters: Float64Array;

  constructor(memory = new SharedArrayBuffer(SharedBlock.BYTES)) {
    this.memory = memory;
    this.#lease = new Float64Array(memory, 0, 2);
    this.#revoked = new Float64Array(memory, 16, 1);
    this.#pill = new Float64Array(memory, 24, 1);
    this.#turn = new Float64Array(memory, 32, 2);
    this.#counters = new Float64Array(memory, COUNTERS_AT);
  }

  /**
   * `Clock.now` milliseconds: a write may be issued, and a read answered, only before these. A new block holds no lease.
   * Aligned 8-byte stores: they cannot tear on the 64-bit machines that we run on.
   */
  setLease(writeUntilMs: number, readUntilMs = writeUntilMs): void {
    this.#lease[0] = writeUntilMs;
    this.#lease[1] = readUntilMs;
  }

  leaseHolds(nowMs: number): boolean {
    return nowMs < (this.#lease[0] ?? 0) && this.#revoked[0] === 0;
  }

  /** By the data plane: whatever the control plane may say later, this node writes and answers nothing any more. */
  revoke(): void {
    this.#revoked[0] = 1;
  }

  /** Is what we know of the mirrors surely still true? */
  mayAnswer(nowMs: number): boolean {
    return nowMs < (this.#lease[1] ?? 0) && this.#revoked[0] === 0;
  }

  /** `Clock.now` milliseconds: the lease for writes ends here; 0 without one. */
  get writeUntil(): number {
    return this.#lease[0] ?? 0;
  }

  /** By the control plane: when a read began that found nothing against us. For the guard. */
  set pillClearAt(nowMs: number) {
    this.#pill[0] = nowMs;
  }

  get pillClearAt(): number {
    return this.#pill[0] ?? 0;
  }

  /** By the data plane, for the guard: when its turn began; 0 between turns. */
  set turnBegan(nowMs: number) {
    this.#turn[0] = nowMs;
  }

  get turnBegan(): number {
    return this.#turn[0] ?? 0;
  }

  /** By the data plane: operations on members that have begun and not ended. */
  set operations(count: number) {
    this.#turn[1] = count;
  }

  get operations(): number {
    return this.#turn[1] ?? 0;
  }

  add(counter: number, amount: number): void {
    this.#counters[counter] = (this.#counters[counter] ?? 0) + amount;
  }

  set(counter: number, value: number): void {
    this.#counters[counter] = value;
  }

  read(counter: EngineCounter): number {
    return this.#counters[engineCounters.indexOf(counter)] ?? 0;
  }
}
