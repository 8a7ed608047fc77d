import { BufferPool } from "./buffer-pool.ts";

/** More in flight brings a client nothing; the Linux client has 128 a connection. */
const MOST_PER_CONNECTION = 256;
/** However many connections there are. */
const LEAST_PER_CONNECTION = 8;

/** Of the pool, unless the greatest payload needs it. */
const RESERVED_SHARE = 1 / 4;

/** Why a connection gets no request. */
export const NO_SHARE = -1;
export const NO_ROOM = -2;

/**
 * The requests of all connections as typed arrays, and the buffers that belong to them. A request is a number below
 * `capacity`; from `take` to `release` it belongs to one connection. What one connection may hold is limited, so that
 * a client that never reads its replies cannot keep the others from working.
 */
export class NbdRequests {
  readonly connection: Uint16Array;
  readonly command: Uint8Array;
  /** As the sink has them. */
  readonly flags: Uint8Array;
  readonly cookieHigh: Uint32Array;
  readonly cookieLow: Uint32Array;
  /** Bytes from the start of the export, and how many. */
  readonly offset: Float64Array;
  readonly length: Uint32Array;
  /** Arena offset of the data; -1: it has none. */
  readonly buffer: Int32Array;
  /** As on the wire; 0: it went well. */
  readonly errno: Uint16Array;
  /** For the one queue that it is in. */
  readonly next: Int32Array;
  readonly pool: BufferPool;
  /** Something was released since this was last set to false: who waits for room may try again. */
  released = false;
  /** Some connection got no room since this was last set to false. */
  crowded = false;

  /** Of the buffer. */
  readonly #pages: Int32Array;
  /** By connection. */
  readonly #held: Int32Array;
  readonly #pagesHeld: Int32Array;
  readonly #pageLimit: number;
  /** Pages to go on with when a device hangs that may still use any number of the others. */
  readonly #reserve: number;
  /** Buffers that were put aside. */
  #kept = 0;
  #limit: number;
  #free = 0;
  #used = 0;

  constructor(capacity: number, connections: number, pool: BufferPool, maximumPayload: number) {
    this.connection = new Uint16Array(capacity);
    this.command = new Uint8Array(capacity);
    this.flags = new Uint8Array(capacity);
    this.cookieHigh = new Uint32Array(capacity);
    this.cookieLow = new Uint32Array(capacity);
    this.offset = new Float64Array(capacity);
    this.length = new Uint32Array(capacity);
    this.buffer = new Int32Array(capacity).fill(-1);
    this.errno = new Uint16Array(capacity);
    this.next = Int32Array.from({ length: capacity }, (_, i) => (i + 1 < capacity ? i + 1 : -1));
    this.pool = pool;
    this.#pages = new Int32Array(capacity);
    this.#held = new Int32Array(connections);
    this.#pagesHeld = new Int32Array(connections);
    this.#pageLimit = Math.max(Math.floor(pool.pages / 2), BufferPool.pagesFor(maximumPayload));
    const most = Math.max(BufferPool.pagesFor(maximumPayload), Math.floor(pool.pages * (1 - RESERVED_SHARE)));
    this.#reserve = pool.pages - most;
    this.#limit = Math.min(MOST_PER_CONNECTION, capacity);
  }

  get used(): number {
    return this.#used;
  }

  /** Shares the table among so many connections. */
  shareAmong(connections: number): void {
    const share = Math.floor(this.next.length / Math.max(1, connections));
    this.#limit = Math.max(LEAST_PER_CONNECTION, Math.min(MOST_PER_CONNECTION, share));
  }

  /**
   * A request with a buffer for `bytes` of data (0: without). NO_SHARE: this connection holds what it may; NO_ROOM: others
   * hold what it could have.
   */
  take(connection: number, bytes: number): number {
    const request = this.#free;
    const held = this.#held[connection] ?? 0;
    if (held >= this.#limit) return NO_SHARE;
    if (request === -1) return this.#noRoom();
    this.connection[request] = connection;
    this.buffer[request] = -1;
    const refused = bytes > 0 ? this.#takeBuffer(request, bytes) : 0;
    if (refused !== 0) return refused;
    this.#free = this.next[request] ?? -1;
    this.#used++;
    this.#held[connection] = held + 1;
    this.errno[request] = 0;
    return request;
  }

  /** The request keeps its place, and others may have its buffer. */
  dropBuffer(request: number): void {
    const connection = this.connection[request] ?? 0;
    this.#pagesHeld[connection] = (this.#pagesHeld[connection] ?? 0) - (this.#pages[request] ?? 0);
    this.pool.release(this.buffer[request] ?? -1);
    this.buffer[request] = -1;
    this.released = true;
  }

  /**
   * The request's buffer is put aside until it is given back, and no longer counts as the connection's. `another`: the
   * request gets another one, whose offset is returned; -1: there is none, and nothing has changed.
   */
  keepBuffer(request: number, another: boolean): number {
    const connection = this.connection[request] ?? 0;
    const fresh = another ? this.pool.take(this.length[request] ?? 0) : -1;
    if (another && fresh < 0) return -1;
    this.#kept++;
    this.buffer[request] = fresh;
    if (!another) this.#pagesHeld[connection] = (this.#pagesHeld[connection] ?? 0) - (this.#pages[request] ?? 0);
    return fresh;
  }

  giveBack(buffer: number): void {
    this.#kept--;
    this.pool.release(buffer);
    this.released = true;
  }

  /** For a request without one, of its length; false: there is none now. */
  takeBufferAgain(request: number): boolean {
    return this.#takeBuffer(request, this.length[request] ?? 0) === 0;
  }

  #takeBuffer(request: number, bytes: number): number {
    const connection = this.connection[request] ?? 0;
    const pages = BufferPool.pagesFor(bytes);
    const pagesHeld = (this.#pagesHeld[connection] ?? 0) + pages;
    if (pagesHeld > this.#pageLimit) return NO_SHARE;
    if (this.#kept === 0 && this.pool.freePages - pages < this.#reserve) return this.#noRoom();
    const buffer = this.pool.take(bytes);
    if (buffer < 0) return this.#noRoom();
    this.#pagesHeld[connection] = pagesHeld;
    this.buffer[request] = buffer;
    this.#pages[request] = pages;
    return 0;
  }

  #noRoom(): number {
    this.crowded = true;
    return NO_ROOM;
  }

  /** Forgets the request and frees its buffer. */
  release(request: number): void {
    const connection = this.connection[request] ?? 0;
    if ((this.buffer[request] ?? -1) >= 0) this.dropBuffer(request);
    this.#held[connection] = (this.#held[connection] ?? 0) - 1;
    this.next[request] = this.#free;
    this.#free = request;
    this.#used--;
    this.released = true;
  }

  /** Of one connection. */
  heldBy(connection: number): number {
    return this.#held[connection] ?? 0;
  }
}

/** Requests that wait, first in first out, linked through `requests.next`. */
export class NbdRequestQueue {
  readonly #next: Int32Array;
  #head = -1;
  #tail = -1;
  #length = 0;

  constructor(requests: NbdRequests) {
    this.#next = requests.next;
  }

  /** -1 when there is none. */
  get first(): number {
    return this.#head;
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

  /** The first, taken off; -1 when there is none. */
  shift(): number {
    const request = this.#head;
    if (request === -1) return -1;
    this.#head = this.#next[request] ?? -1;
    if (this.#head === -1) this.#tail = -1;
    this.#length--;
    return request;
  }

  /** Puts one back that was just taken off. */
  unshift(request: number): void {
    this.#next[request] = this.#head;
    this.#head = request;
    if (this.#tail === -1) this.#tail = request;
    this.#length++;
  }
}
