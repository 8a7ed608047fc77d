import { sector } from "../base/units.ts";
import { type FrontEnd, type FrontEndSeat, REQUEST_FUA, RequestOp } from "../blockdev/front-end.ts";
import type { PortRequest, RequestPort } from "./request-port.ts";

/** The clients of a simulated node: requests go straight into its engine, from buffers of the ring's arena. */
export class SimFrontEnd implements FrontEnd, RequestPort {
  readonly life: string;
  readonly #seat: FrontEndSeat;
  readonly #bufferBytes: number;
  readonly #wake: () => void;
  /** By cookie, which is also the number of its buffer. */
  readonly #requests: (PortRequest | null)[];
  #draining = false;

  constructor(life: string, seat: FrontEndSeat, longest: number, wake: () => void) {
    this.life = life;
    this.#seat = seat;
    this.#bufferBytes = Math.ceil((longest * 512) / 4096) * 4096;
    this.#requests = new Array(Math.min(16, Math.floor(seat.arenaBytes / this.#bufferBytes))).fill(null);
    this.#wake = wake;
  }

  submit(request: PortRequest): boolean {
    const cookie = this.#requests.indexOf(null);
    if (cookie < 0 || this.#draining) return false;
    const buffer = this.#bufferOf(cookie);
    const { op, lo, hi, fua, data } = request;
    if (data !== null) this.#seat.ring.arena.set(data, buffer);
    const flags = fua ? REQUEST_FUA : 0;
    const taken = this.#seat.sink.submit(this, RequestOp[op], sector(lo), hi - lo, buffer, flags, cookie);
    if (!taken) return false;
    this.#requests[cookie] = request;
    this.#wake();
    return true;
  }

  ringCompletion(): void {}

  complete(cookie: number, errno: number): void {
    const request = this.#requests[cookie];
    if (request == null) throw new RangeError(`request ${cookie} is completed that nobody made`);
    const buffer = this.#bufferOf(cookie);
    const length = (request.hi - request.lo) * 512;
    const data = request.op === "read" && errno === 0 ? this.#seat.ring.arena.slice(buffer, buffer + length) : null;
    this.#requests[cookie] = null;
    request.done(errno, data);
  }

  endTurn(): void {}

  drain(): boolean {
    this.#draining = true;
    return this.isIdle;
  }

  get isIdle(): boolean {
    return this.#requests.every((request) => request === null);
  }

  #bufferOf(cookie: number): number {
    return this.#seat.arenaAt + cookie * this.#bufferBytes;
  }
}
