import { type FrontEnd, RequestOp } from "../blockdev/front-end.ts";

/**
 * Where a leg (one member's part of a request) stands. `skipped`: the member took no part. `lacking`: it lacks some of it,
 * which is recorded as bad.
 */
export const LegState = { skipped: 0, inFlight: 1, ok: 2, failed: 3, again: 4, lacking: 5 } as const;
/**
 * What is being done on a leg: its transfer, zeroing by the device, zeroing by writing zeros, or a flush. narrow: what
 * failed is written block by block, to find out which blocks are bad; of data, or of zeros.
 */
export const LegWork = { transfer: 0, zero: 1, writeZeros: 2, flush: 3, narrow: 4, narrowZeros: 5 } as const;

/** Of the room for writes, so much more for reads and flushes alone. */
const RESERVED_SHARE = 1 / 4;

const changes = (op: RequestOp): boolean => op !== RequestOp.read && op !== RequestOp.flush;

/**
 * Requests in flight and their legs, as typed arrays: nothing is allocated per request. A request is a number below
 * `capacity`; its legs are `request * width` and following. A request is on at most one `RequestQueue` at a time.
 */
export class RequestTable {
  readonly capacity: number;
  /** Legs a request. */
  readonly width: number;
  readonly frontEnd: (FrontEnd | null)[];
  readonly op: Uint8Array;
  readonly flags: Uint8Array;
  /** Array sectors. */
  readonly at: Float64Array;
  readonly sectors: Float64Array;
  /** Arena offset. */
  readonly buffer: Float64Array;
  readonly cookie: Float64Array;
  /** Sectors of parts that are done; a part is one or more ranges of the map. */
  readonly done: Float64Array;
  /** Sectors of the part at work. */
  readonly part: Float64Array;
  /** Legs of the part at work, and of each range of it. */
  readonly legs: Int32Array;
  readonly rangeLegs: Int32Array;
  readonly legsPending: Int32Array;
  /** A part failed: errno, 0 for none. */
  readonly error: Int32Array;
  /** A member that has failed, and is not settled, lacks it: which era of the failure path that was; 0: none does. */
  readonly lostIn: Float64Array;
  /** The version of the lists of bad blocks that must be durable before it is answered; 0: none. */
  readonly awaits: Float64Array;
  /** It has been written, is not answered yet, and another node's resync may since have copied over what it wrote. */
  readonly overwritten: Uint8Array;
  /** Nobody waits for it any more: unless it is issued, it never will be. */
  readonly cancelled: Uint8Array;
  /** Legs of it are in flight on members. */
  readonly issued: Uint8Array;
  readonly next: Int32Array;

  readonly legDisk: Int32Array;
  /** Sector from the start of the member's data. */
  readonly legAt: Float64Array;
  /** Where its range begins in the request, and the range's sectors. */
  readonly legFrom: Float64Array;
  readonly legSectors: Float64Array;
  /** Sectors of the leg that are done. */
  readonly legDone: Float64Array;
  readonly legState: Uint8Array;
  readonly legWork: Uint8Array;
  readonly legErrno: Int32Array;
  readonly legRetries: Uint16Array;
  /** Some of it was recorded as bad. */
  readonly legLacks: Uint8Array;

  /** Writes, zeroes and discards at a time. */
  readonly #mostChanges: number;
  #free: number;
  #used = 0;
  #changes = 0;

  /** `depth`: writes at a time. There is more room than that: writes that must wait do not keep reads and flushes out. */
  constructor(depth: number, width: number) {
    const capacity = depth + Math.ceil(depth * RESERVED_SHARE);
    this.capacity = capacity;
    this.#mostChanges = depth;
    this.width = width;
    const legs = capacity * width;
    this.frontEnd = new Array<FrontEnd | null>(capacity).fill(null);
    this.op = new Uint8Array(capacity);
    this.flags = new Uint8Array(capacity);
    this.at = new Float64Array(capacity);
    this.sectors = new Float64Array(capacity);
    this.buffer = new Float64Array(capacity);
    this.cookie = new Float64Array(capacity);
    this.done = new Float64Array(capacity);
    this.part = new Float64Array(capacity);
    this.legs = new Int32Array(capacity);
    this.rangeLegs = new Int32Array(capacity);
    this.legsPending = new Int32Array(capacity);
    this.error = new Int32Array(capacity);
    this.lostIn = new Float64Array(capacity);
    this.awaits = new Float64Array(capacity);
    this.overwritten = new Uint8Array(capacity);
    this.cancelled = new Uint8Array(capacity);
    this.issued = new Uint8Array(capacity);
    this.next = Int32Array.from({ length: capacity }, (_, i) => (i + 1 < capacity ? i + 1 : -1));
    this.legDisk = new Int32Array(legs);
    this.legAt = new Float64Array(legs);
    this.legFrom = new Float64Array(legs);
    this.legSectors = new Float64Array(legs);
    this.legDone = new Float64Array(legs);
    this.legState = new Uint8Array(legs);
    this.legWork = new Uint8Array(legs);
    this.legErrno = new Int32Array(legs);
    this.legRetries = new Uint16Array(legs);
    this.legLacks = new Uint8Array(legs);
    this.#free = 0;
  }

  get used(): number {
    return this.#used;
  }

  /** Writes, zeroes and discards among them. */
  get changing(): number {
    return this.#changes;
  }

  /** A request of the caller's own; -1 when there is no room for one that does `op`. */
  take(op: RequestOp): number {
    const request = this.#free;
    if (request === -1 || (changes(op) && this.#changes >= this.#mostChanges)) return -1;
    if (changes(op)) this.#changes++;
    this.op[request] = op;
    this.#free = this.next[request] ?? -1;
    this.next[request] = -1;
    this.#used++;
    this.done[request] = 0;
    this.part[request] = 0;
    this.legs[request] = 0;
    this.legsPending[request] = 0;
    this.error[request] = 0;
    this.lostIn[request] = 0;
    this.awaits[request] = 0;
    this.overwritten[request] = 0;
    this.cancelled[request] = 0;
    this.issued[request] = 0;
    return request;
  }

  release(request: number): void {
    if (changes((this.op[request] ?? RequestOp.read) as RequestOp)) this.#changes--;
    this.frontEnd[request] = null;
    this.next[request] = this.#free;
    this.#free = request;
    this.#used--;
  }

  /** The leg after its last one. */
  endOfLegs(request: number): number {
    return request * this.width + (this.legs[request] ?? 0);
  }

  end(request: number): number {
    return (this.at[request] ?? 0) + (this.sectors[request] ?? 0);
  }

  /** Says where a leg's range is: `at` from the start of the member's data, `from` sectors into the request. */
  layLeg(leg: number, disk: number, at: number, from: number, sectors: number): void {
    this.legDisk[leg] = disk;
    this.legAt[leg] = at;
    this.legFrom[leg] = from;
    this.legSectors[leg] = sectors;
    this.legState[leg] = LegState.skipped;
  }

  /** Prepares a leg that is about to be issued. */
  startLeg(leg: number, work: number): void {
    this.legDone[leg] = 0;
    this.legState[leg] = LegState.inFlight;
    this.legWork[leg] = work;
    this.legErrno[leg] = 0;
    this.legRetries[leg] = 0;
    this.legLacks[leg] = 0;
  }
}

/** Requests that wait, first in first out, linked through `table.next`. */
export class RequestQueue {
  readonly #next: Int32Array;
  #head = -1;
  #tail = -1;
  #length = 0;

  constructor(table: RequestTable) {
    this.#next = table.next;
  }

  get length(): number {
    return this.#length;
  }

  push(request: number): void {
    this.#next[request] = -1;
    if (this.#tail === -1) this.#head = request;
    else this.#next[this.#tail] = request;
    this.#tail = request;
    this.#length++;
  }

  /** -1 when nothing waits. */
  shift(): number {
    const request = this.#head;
    if (request === -1) return -1;
    this.#head = this.#next[request] ?? -1;
    if (this.#head === -1) this.#tail = -1;
    this.#next[request] = -1;
    this.#length--;
    return request;
  }
}
