import { assert } from "../../base/assert.ts";
import { MdError } from "../../base/md-error.ts";
import { SECTOR_SIZE, sector } from "../../base/units.ts";
import { Errno } from "../errno.ts";
import {
  type FrontEnd,
  type FrontEndSeat,
  REQUEST_FUA,
  REQUEST_NO_HOLE,
  RequestOp,
  type RequestSink,
} from "../front-end.ts";
import { TagBuffers } from "./tag-buffers.ts";
import { TagQueue } from "./tag-queue.ts";
import { ABORTED, DESCRIPTOR_WORDS, IoFlag, IoOp } from "./uapi.ts";
import type { UblkChannel, UblkQueues } from "./ublk-channel.ts";

export interface UblkServerOptions extends UblkQueues {
  /** Bytes of each tag's buffer: the longest read or write that the device was told to ask for. */
  readonly bufferBytes: number;
  readonly readOnly: boolean;
}

/** Of a tag. left: its request is for the next server. owing: it is done, and lacks a buffer to fetch the next one with. */
const TagState = { kernel: 0, array: 1, waiting: 2, left: 3, gone: 4, owing: 5 } as const;

const EROFS = 30;
const ESHUTDOWN = 108;
const NO_OP = 255;

const ops = new Uint8Array(256).fill(NO_OP);
ops[IoOp.READ] = RequestOp.read;
ops[IoOp.WRITE] = RequestOp.write;
ops[IoOp.FLUSH] = RequestOp.flush;
ops[IoOp.DISCARD] = RequestOp.discard;
ops[IoOp.WRITE_ZEROES] = RequestOp.zero;

/**
 * The queues of a ublk device as a front end: all of them are served by the engine's thread. Queue q's tag t is number
 * q * depth + t: of its buffer, its ring tag and its request's cookie. The kernel copies what is written into the buffer
 * before the request is seen, and what was read out of it after the commit; nothing is copied here.
 */
export class UblkServer implements FrontEnd {
  readonly #channel: UblkChannel;
  readonly #sink: RequestSink;
  readonly #depth: number;
  readonly #tags: number;
  readonly #bufferBytes: number;
  readonly #readOnly: boolean;
  readonly #buffers: TagBuffers;
  readonly #tagBase: number;
  readonly #state: Uint8Array;
  readonly #op: Uint8Array;
  readonly #sectors: Uint32Array;
  /** They found no room. Writes may have to wait for long; what changes nothing need not. */
  readonly #waitingWrites: TagQueue;
  readonly #waitingReads: TagQueue;
  readonly #owing: TagQueue;
  /** What they are to be committed with. */
  readonly #owed: Int32Array;
  /** Tags with a command pending, and with a request in the array. */
  #inKernel: number;
  #inArray = 0;
  /** Commits so far, and when `drain` last looked: those that came since have not gone out. */
  #commits = 0;
  #commitsSeen = 0;
  #ending: "no" | "leaving" | "for good" = "no";
  #closed = false;

  /** Fetches every tag: the device can start once the ring has been entered. Throws MdError as `openUblk`, and E_VALUE. */
  constructor(seat: FrontEndSeat, options: UblkServerOptions) {
    const { ring, sink, arenaAt, arenaBytes, tagBase } = seat;
    const { queues, depth, bufferBytes } = options;
    this.#sink = sink;
    this.#depth = depth;
    this.#tags = queues * depth;
    this.#bufferBytes = bufferBytes;
    this.#readOnly = options.readOnly || sink.readOnly;
    this.#tagBase = tagBase;
    if (this.#tags * bufferBytes > arenaBytes) {
      const why = `${queues} x ${depth} buffers of ${bufferBytes} bytes, and ${arenaBytes} bytes of transfer memory`;
      throw new MdError("E_VALUE", "the ublk queues are too deep", { why, hint: "--depth=64 --queues=1" });
    }
    if (ring.openUblk === undefined) {
      throw new MdError("E_IO", "ublk needs io_uring, and the data plane works without it", { why: ring.about });
    }
    this.#buffers = new TagBuffers(arenaAt, arenaBytes, bufferBytes, this.#tags);
    this.#owing = new TagQueue(this.#tags);
    this.#owed = new Int32Array(this.#tags);
    this.#state = new Uint8Array(this.#tags);
    this.#op = new Uint8Array(this.#tags);
    this.#sectors = new Uint32Array(this.#tags);
    this.#waitingWrites = new TagQueue(this.#tags);
    this.#waitingReads = new TagQueue(this.#tags);
    this.#channel = ring.openUblk(options);
    this.#inKernel = this.#tags;
    for (let index = 0; index < this.#tags; index++) {
      const tag = index % depth;
      this.#channel.fetch((index - tag) / depth, tag, this.#buffers.of(index), bufferBytes, tagBase + index);
    }
  }

  ringCompletion(index: number, result: number): void {
    if (this.#closed) return;
    assert(index < this.#tags && this.#state[index] === TagState.kernel, "a completion is of no tag of the kernel's");
    this.#inKernel--;
    if (result === ABORTED) {
      this.#state[index] = TagState.gone;
      return;
    }
    assert(result === 0, `ublk refuses the command of tag ${index}: ${result}`);
    // Who is leaving takes nothing up: the next server is asked again.
    if (this.#ending === "leaving") this.#state[index] = TagState.left;
    else this.#take(index);
  }

  complete(index: number, errno: number): void {
    this.#inArray--;
    const failed = errno !== 0;
    // It was not carried out, and this server's time is over: no error, as the next one will do it.
    if (errno === ESHUTDOWN && this.#ending !== "for good") {
      this.#state[index] = TagState.left;
      return;
    }
    const op = this.#op[index];
    const moves = op === RequestOp.read || op === RequestOp.write;
    if (failed) this.#commit(index, -kernelErrno(errno));
    else this.#commit(index, moves ? (this.#sectors[index] as number) * SECTOR_SIZE : 0);
  }

  keepBuffer(index: number, another: boolean): number {
    return this.#buffers.keep(index, another);
  }

  giveBack(buffer: number): void {
    this.#buffers.giveBack(buffer);
    if (!this.#owing.isEmpty && !this.#closed) {
      const index = this.#owing.shift();
      this.#commit(index, this.#owed[index] as number);
    }
  }

  endTurn(): void {
    this.#offerAll(this.#waitingWrites);
    this.#offerAll(this.#waitingReads);
  }

  wantsTurnIn(): number {
    return Number.POSITIVE_INFINITY;
  }

  /**
   * For good: the device is being stopped, what was not carried out fails, and all tags come back. Otherwise requests that
   * were not carried out stay with the kernel, for another server: the device is left as it is.
   */
  drain(forGood: boolean): boolean {
    if (this.#ending !== "for good") this.#beginToEnd(forGood);
    const settled = this.#commits === this.#commitsSeen;
    this.#commitsSeen = this.#commits;
    if (!settled || this.#inArray > 0 || (this.#ending === "for good" && this.#isServing)) return false;
    if (!this.#closed) this.#channel.close();
    this.#closed = true;
    return true;
  }

  get #isServing(): boolean {
    return this.#inKernel > 0 || !this.#owing.isEmpty;
  }

  #beginToEnd(forGood: boolean): void {
    const ending = forGood ? "for good" : "leaving";
    if (this.#ending === ending) return;
    this.#ending = ending;
    this.#leaveAll(this.#waitingWrites);
    this.#leaveAll(this.#waitingReads);
    this.#sink.cancel(this, () => true);
    if (!forGood) return;
    for (let index = 0; index < this.#tags; index++) {
      if (this.#state[index] === TagState.left) this.#commit(index, -Errno.EIO);
    }
  }

  #leaveAll(waiting: TagQueue): void {
    for (let index = waiting.shift(); index !== -1; index = waiting.shift()) this.#state[index] = TagState.left;
  }

  #take(index: number): void {
    const tag = index % this.#depth;
    const words = this.#channel.descriptors[(index - tag) / this.#depth] as Uint32Array;
    const at = tag * DESCRIPTOR_WORDS;
    const op = ops[(words[at] as number) & 0xff] as number;
    const sectors = words[at + 1] as number;
    const moves = op === RequestOp.read || op === RequestOp.write;
    this.#op[index] = op;
    this.#sectors[index] = sectors;
    if (op === NO_OP) this.#commit(index, -Errno.EOPNOTSUPP);
    else if (moves && sectors * SECTOR_SIZE > this.#bufferBytes) this.#commit(index, -Errno.EINVAL);
    else if (this.#readOnly && op !== RequestOp.read && op !== RequestOp.flush) this.#commit(index, -Errno.EPERM);
    else if (this.#ending === "for good") this.#commit(index, -Errno.EIO);
    else this.#offer(index);
  }

  #offer(index: number): void {
    const waiting = this.#changes(index) ? this.#waitingWrites : this.#waitingReads;
    if (waiting.isEmpty && this.#submit(index)) return;
    this.#state[index] = TagState.waiting;
    waiting.push(index);
  }

  #offerAll(waiting: TagQueue): void {
    // Off the queue first: the array may complete it at once.
    for (let index = waiting.shift(); index !== -1; index = waiting.shift()) {
      if (this.#submit(index)) continue;
      waiting.unshift(index);
      return;
    }
  }

  #submit(index: number): boolean {
    const tag = index % this.#depth;
    const words = this.#channel.descriptors[(index - tag) / this.#depth] as Uint32Array;
    const at = tag * DESCRIPTOR_WORDS;
    const start = (words[at + 2] as number) + (words[at + 3] as number) * 2 ** 32;
    const bits = words[at] as number;
    const flags = ((bits & IoFlag.FUA) !== 0 ? REQUEST_FUA : 0) | ((bits & IoFlag.NOUNMAP) !== 0 ? REQUEST_NO_HOLE : 0);
    const op = this.#op[index] as RequestOp;
    const sectors = this.#sectors[index] as number;
    const before = this.#state[index] as number;
    this.#state[index] = TagState.array;
    this.#inArray++;
    if (this.#sink.submit(this, op, sector(start), sectors, this.#buffers.of(index), flags, index)) return true;
    this.#state[index] = before;
    this.#inArray--;
    return false;
  }

  #commit(index: number, result: number): void {
    const buffer = this.#buffers.of(index);
    if (buffer === -1) {
      this.#state[index] = TagState.owing;
      this.#owed[index] = result;
      this.#owing.push(index);
      return;
    }
    const tag = index % this.#depth;
    const queue = (index - tag) / this.#depth;
    this.#state[index] = TagState.kernel;
    this.#inKernel++;
    this.#commits++;
    this.#channel.commit(queue, tag, result, buffer, this.#bufferBytes, this.#tagBase + index);
  }

  #changes(index: number): boolean {
    const op = this.#op[index];
    return op !== RequestOp.read && op !== RequestOp.flush;
  }
}

/** The array's errno as the block layer is told: those that it would take for "try again" are errors all the same. */
function kernelErrno(errno: number): number {
  switch (errno) {
    case Errno.ENOSPC:
    case Errno.EOPNOTSUPP:
      return errno;
    case EROFS:
      return Errno.EPERM;
    default:
      return Errno.EIO;
  }
}
