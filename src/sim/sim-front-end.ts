import { sector } from "../base/units.ts";
import { type FrontEnd, type FrontEndSeat, REQUEST_FUA, RequestOp } from "../blockdev/front-end.ts";
import type { PortRequest, RequestPort } from "./request-port.ts";

/** Requests at a time; there are more buffers, for when some of them must be kept. */
const MOST = 16;

/** The clients of a simulated node: requests go straight into its engine, from buffers of the ring's arena. */
export class SimFrontEnd implements FrontEnd, RequestPort {
  readonly life: string;
  readonly #bufferBytes: number;
  readonly #wake: () => void;
  #seat: FrontEndSeat | null = null;
  /** By cookie. */
  #requests: (PortRequest | null)[] = [];
  /** By cookie: the number of its buffer. */
  #bufferOf: number[] = [];
  /** Numbers of buffers; the last one is the next. */
  #free: number[] = [];
  /** Numbers of buffers that a device may still use. */
  readonly #kept = new Set<number>();
  #draining = false;

  constructor(life: string, longest: number, wake: () => void) {
    this.life = life;
    this.#bufferBytes = Math.ceil((longest * 512) / 4096) * 4096;
    this.#wake = wake;
  }

  sitDown(seat: FrontEndSeat): this {
    this.#seat = seat;
    const buffers = Math.min(2 * MOST, Math.floor(seat.arenaBytes / this.#bufferBytes));
    this.#requests = new Array(Math.min(MOST, buffers)).fill(null);
    this.#free = Array.from({ length: buffers }, (_, i) => buffers - 1 - i);
    return this;
  }

  submit(request: PortRequest): boolean {
    const cookie = this.#requests.indexOf(null);
    const seat = this.#seat;
    const number = this.#free.at(-1);
    if (seat === null || cookie < 0 || number === undefined || this.#draining) return false;
    const buffer = seat.arenaAt + number * this.#bufferBytes;
    const { op, lo, hi, fua, data } = request;
    if (data !== null) seat.ring.arena.set(data, buffer);
    const flags = fua ? REQUEST_FUA : 0;
    const taken = seat.sink.submit(this, RequestOp[op], sector(lo), hi - lo, buffer, flags, cookie);
    if (!taken) return false;
    this.#free.pop();
    this.#bufferOf[cookie] = number;
    this.#requests[cookie] = request;
    this.#wake();
    return true;
  }

  ringCompletion(): void {}

  complete(cookie: number, errno: number): void {
    const request = this.#requests[cookie];
    if (request == null || this.#seat === null) throw new RangeError(`request ${cookie} is completed that nobody made`);
    const number = this.#bufferOf[cookie] ?? 0;
    const buffer = this.#seat.arenaAt + number * this.#bufferBytes;
    if (!this.#kept.has(number)) this.#free.push(number);
    const end = buffer + (request.hi - request.lo) * 512;
    const data = request.op === "read" && errno === 0 ? this.#seat.ring.arena.subarray(buffer, end) : null;
    this.#requests[cookie] = null;
    request.done(errno, data);
  }

  keepBuffer(cookie: number, another: boolean): number {
    const before = this.#bufferOf[cookie] ?? 0;
    const number = another ? this.#free.pop() : -1;
    if (this.#seat === null || number === undefined) return -1;
    this.#kept.add(before);
    if (number === -1) return -1;
    this.#bufferOf[cookie] = number;
    return this.#seat.arenaAt + number * this.#bufferBytes;
  }

  giveBack(buffer: number): void {
    const number = (buffer - (this.#seat?.arenaAt ?? 0)) / this.#bufferBytes;
    this.#kept.delete(number);
    this.#free.push(number);
  }

  endTurn(): void {}

  wantsTurnIn(): number {
    return Number.POSITIVE_INFINITY;
  }

  drain(): boolean {
    this.#draining = true;
    return this.isIdle;
  }

  get isIdle(): boolean {
    return this.#requests.every((request) => request === null);
  }
}
