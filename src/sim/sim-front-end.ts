import { sector } from "../base/units.ts";
import { type FrontEnd, type FrontEndSeat, REQUEST_FUA, RequestOp } from "../blockdev/front-end.ts";
import type { PortRequest, RequestPort } from "./request-port.ts";

/** The clients of a simulated node: requests go straight into its engine, from buffers of the ring's arena. */
export class SimFrontEnd implements FrontEnd, RequestPort {
  readonly life: string;
  readonly #bufferBytes: number;
  readonly #wake: () => void;
  #seat: FrontEndSeat | null = null;
  /** By cookie, which is also the number of its buffer. */
  #requests: (PortRequest | null)[] = [];
  #draining = false;

  constructor(life: string, longest: number, wake: () => void) {
    this.life = life;
    this.#bufferBytes = Math.ceil((longest * 512) / 4096) * 4096;
    this.#wake = wake;
  }

  sitDown(seat: FrontEndSeat): this {
    this.#seat = seat;
    this.#requests = new Array(Math.min(16, Math.floor(seat.arenaBytes / this.#bufferBytes))).fill(null);
    return this;
  }

  submit(request: PortRequest): boolean {
    const cookie = this.#requests.indexOf(null);
    const seat = this.#seat;
    if (seat === null || cookie < 0 || this.#draining) return false;
    const buffer = seat.arenaAt + cookie * this.#bufferBytes;
    const { op, lo, hi, fua, data } = request;
    if (data !== null) seat.ring.arena.set(data, buffer);
    const flags = fua ? REQUEST_FUA : 0;
    const taken = seat.sink.submit(this, RequestOp[op], sector(lo), hi - lo, buffer, flags, cookie);
    if (!taken) return false;
    this.#requests[cookie] = request;
    this.#wake();
    return true;
  }

  ringCompletion(): void {}

  complete(cookie: number, errno: number): void {
    const request = this.#requests[cookie];
    if (request == null || this.#seat === null) throw new RangeError(`request ${cookie} is completed that nobody made`);
    const buffer = this.#seat.arenaAt + cookie * this.#bufferBytes;
    const end = buffer + (request.hi - request.lo) * 512;
    const data = request.op === "read" && errno === 0 ? this.#seat.ring.arena.subarray(buffer, end) : null;
    this.#requests[cookie] = null;
    request.done(errno, data);
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
