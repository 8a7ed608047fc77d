import { sector } from "../../src/base/units.ts";
import { type FrontEnd, REQUEST_FUA, RequestOp, type RequestSink } from "../../src/blockdev/front-end.ts";

interface Held {
  readonly frontEnd: FrontEnd;
  readonly op: RequestOp;
  readonly at: number;
  readonly bytes: number;
  readonly buffer: number;
  readonly cookie: number;
}

export interface SunkRequest {
  readonly op: RequestOp;
  /** Bytes. */
  readonly at: number;
  readonly bytes: number;
  readonly fua: boolean;
  readonly flags: number;
}

/** An array in memory behind a front end. It answers in the turn after, or when told to. */
export class MemorySink implements RequestSink {
  readonly size;
  readonly readOnly: boolean;
  readonly blockSize: number;
  readonly data: Buffer;
  /** Requests held at a time; more are refused. */
  capacity = 128;
  /** No write is taken. */
  fullOfWrites = false;
  /** Nothing is answered until it is let go. */
  holding = false;
  /** What the next requests are answered with. */
  errno = 0;
  /** Remembers what came in. */
  readonly log: SunkRequest[] = [];
  logging = false;
  mostHeld = 0;
  readonly #arena: Uint8Array;
  #held: Held[] = [];
  #cancelled: Held[] = [];

  constructor(arena: Uint8Array, bytes: number, options: { readonly readOnly?: boolean; readonly blockSize?: number }) {
    this.#arena = arena;
    this.data = Buffer.alloc(bytes);
    this.size = sector(bytes / 512);
    this.readOnly = options.readOnly ?? false;
    this.blockSize = options.blockSize ?? 512;
  }

  get held(): number {
    return this.#held.length;
  }

  submit(
    frontEnd: FrontEnd,
    op: RequestOp,
    at: number,
    sectors: number,
    buffer: number,
    flags: number,
    cookie: number,
  ): boolean {
    const isFull = this.fullOfWrites && op !== RequestOp.read && op !== RequestOp.flush;
    if (isFull || this.#held.length >= this.capacity) return false;
    if (this.#held.some((held) => held.cookie === cookie)) throw new Error(`cookie ${cookie} twice`);
    const request = { frontEnd, op, at: at * 512, bytes: sectors * 512, buffer, cookie };
    if (request.at + request.bytes > this.data.length) throw new Error("a request leaves the array");
    if (this.logging) this.log.push({ ...request, flags, fua: (flags & REQUEST_FUA) !== 0 });
    this.#held.push(request);
    this.mostHeld = Math.max(this.mostHeld, this.#held.length);
    return true;
  }

  cancel(frontEnd: FrontEnd, concerns: (cookie: number) => boolean): void {
    const goes = (held: Held): boolean =>
      held.frontEnd === frontEnd && held.op !== RequestOp.read && held.op !== RequestOp.flush && concerns(held.cookie);
    this.#cancelled.push(...this.#held.filter(goes));
    this.#held = this.#held.filter((held) => !goes(held));
  }

  /** Answers what it holds; the number of answers. */
  run(): number {
    for (const { frontEnd, cookie } of this.#cancelled.splice(0)) frontEnd.complete(cookie, 108);
    if (this.holding) return 0;
    const ready = this.#held;
    this.#held = [];
    for (const request of ready) {
      if (this.errno === 0) this.#carryOut(request);
      request.frontEnd.complete(request.cookie, this.errno);
    }
    return ready.length;
  }

  #carryOut({ op, at, bytes, buffer }: Held): void {
    if (op === RequestOp.read) this.#arena.set(this.data.subarray(at, at + bytes), buffer);
    else if (op === RequestOp.write) this.data.set(this.#arena.subarray(buffer, buffer + bytes), at);
    else if (op !== RequestOp.flush) this.data.fill(0, at, at + bytes);
  }
}
