import { assert } from "../../base/assert.ts";
import { type NbdCore, NbdOperation } from "./nbd-core.ts";
import { NbdRequestQueue } from "./nbd-requests.ts";
import {
  CHUNK_BYTES,
  CHUNK_DONE,
  CHUNK_MAGIC,
  ChunkType,
  Command,
  ERROR_CHUNK_BYTES,
  OFFSET_DATA_BYTES,
  SIMPLE_REPLY_BYTES,
  SIMPLE_REPLY_MAGIC,
} from "./protocol.ts";

/** Data up to here is copied to go out together with other replies: cheaper than a system call and a wake-up of its own. */
const COPY_BYTES = 16 * 1024;

/**
 * The sending half of a connection: at most one send is in flight, and what is answered meanwhile goes out together
 * with the next. A single READ's data is sent from where it was read to; several small ones are gathered.
 */
export class ReplySender {
  readonly #core: NbdCore;
  readonly #tag: number;
  readonly #queue: NbdRequestQueue;
  readonly #stagingAt: number;
  readonly #stagingBytes: number;
  #socket = -1;
  #structured = false;
  #sending = false;
  #sendingSince = 0;
  #sendAt = 0;
  #sendLeft = 0;
  /** The request whose buffer is being sent; -1: it is the staging area. */
  #sendRequest = -1;

  constructor(core: NbdCore, connection: number, stagingAt: number, stagingBytes: number) {
    this.#core = core;
    this.#tag = core.tagOf(NbdOperation.send, connection);
    this.#queue = new NbdRequestQueue(core.requests);
    this.#stagingAt = stagingAt;
    this.#stagingBytes = stagingBytes;
  }

  open(socket: number): void {
    assert(this.idle, "a connection begins with nothing to send");
    this.#socket = socket;
    this.#structured = false;
  }

  useStructuredReplies(): void {
    this.#structured = true;
  }

  get sending(): boolean {
    return this.#sending;
  }

  /** Since when the client has not taken what is being sent, in milliseconds of the clock; Infinity: nothing waits for it. */
  get stuckSince(): number {
    return this.#sending ? this.#sendingSince : Number.POSITIVE_INFINITY;
  }

  get idle(): boolean {
    return !this.#sending && this.#queue.first === -1;
  }

  /** Handshake: sends at once. Not while sending. */
  sendBytes(bytes: Uint8Array): void {
    assert(!this.#sending && bytes.length <= this.#stagingBytes, "a handshake reply fits, and goes out alone");
    this.#core.ring.arena.set(bytes, this.#stagingAt);
    this.#send(this.#stagingAt, bytes.length, -1);
  }

  /** The request is answered: its errno is set, a READ's data is in its buffer. */
  push(request: number): void {
    this.#queue.push(request);
  }

  /** Sends what waits, until the socket takes no more. */
  pump(): void {
    while (!this.#sending && this.#queue.first !== -1) this.#sendNext();
  }

  #sendNext(): void {
    let first = this.#queue.first;
    if (this.#goesAlone(first)) {
      this.#queue.shift();
      const { buffer, length } = this.#core.requests;
      const dataAt = buffer[first] ?? 0;
      const header = this.#headerBytes(first);
      this.#writeHeader(first, dataAt - header);
      this.#send(dataAt - header, header + (length[first] ?? 0), first);
      return;
    }
    let at = this.#stagingAt;
    const end = at + this.#stagingBytes;
    while (first !== -1 && !this.#isLarge(first)) {
      const next = this.#stage(first, at, end);
      if (next < 0) break;
      at = next;
      this.#queue.shift();
      this.#core.requests.release(first);
      first = this.#queue.first;
    }
    this.#send(this.#stagingAt, at - this.#stagingAt, -1);
  }

  /** Its send has completed. False: the connection is broken. */
  sent(result: number): boolean {
    if (result > 0 && result < this.#sendLeft) {
      this.#send(this.#sendAt + result, this.#sendLeft - result, this.#sendRequest);
      return true;
    }
    this.#done(this.#sendRequest);
    return result > 0;
  }

  /**
   * The data of READs that wait behind a send goes, and they come to `again`: they are to be read once more. What is
   * being sent has to stay.
   */
  giveBackData(again: NbdRequestQueue): void {
    for (let left = this.#queue.length; left > 0; left--) {
      const request = this.#queue.shift();
      if (this.#carriesData(request)) {
        this.#core.requests.dropBuffer(request);
        again.push(request);
      } else {
        this.#queue.push(request);
      }
    }
  }

  /** The connection is broken: nobody will read what waits. A send in flight keeps its buffer until it has completed. */
  abandon(): void {
    for (let request = this.#queue.shift(); request !== -1; request = this.#queue.shift()) {
      this.#core.requests.release(request);
    }
  }

  #send(at: number, bytes: number, request: number): void {
    const sent = this.#core.ring.sendNow(this.#socket, at, bytes);
    if (sent === bytes) {
      this.#done(request);
      return;
    }
    this.#sending = true;
    this.#sendingSince = this.#core.now();
    this.#sendAt = at + sent;
    this.#sendLeft = bytes - sent;
    this.#sendRequest = request;
    this.#core.ring.send(this.#socket, at + sent, bytes - sent, this.#tag);
  }

  #done(request: number): void {
    this.#sending = false;
    this.#sendRequest = -1;
    if (request >= 0) this.#core.requests.release(request);
  }

  #carriesData(request: number): boolean {
    const { command, errno } = this.#core.requests;
    return command[request] === Command.READ && errno[request] === 0;
  }

  #isLarge(request: number): boolean {
    return this.#carriesData(request) && (this.#core.requests.length[request] ?? 0) > COPY_BYTES;
  }

  #goesAlone(first: number): boolean {
    return this.#isLarge(first) || (this.#queue.length === 1 && this.#carriesData(first));
  }

  /** Appends the reply at `at`; where it ends, or -1 when it does not fit. */
  #stage(request: number, at: number, end: number): number {
    const { requests, ring } = this.#core;
    const dataAt = at + this.#headerBytes(request);
    const bytes = this.#carriesData(request) ? (requests.length[request] ?? 0) : 0;
    if (dataAt + bytes > end) return -1;
    this.#writeHeader(request, at);
    const from = requests.buffer[request] ?? 0;
    if (bytes > 0) ring.arena.copyWithin(dataAt, from, from + bytes);
    return dataAt + bytes;
  }

  /** Once structured replies are agreed on, data and errors come in chunks; other commands may have simple replies. */
  #headerBytes(request: number): number {
    if (!this.#structured) return SIMPLE_REPLY_BYTES;
    const { command, errno } = this.#core.requests;
    if (errno[request] !== 0) return CHUNK_BYTES + ERROR_CHUNK_BYTES;
    return command[request] === Command.READ ? CHUNK_BYTES + OFFSET_DATA_BYTES : SIMPLE_REPLY_BYTES;
  }

  #writeHeader(request: number, at: number): void {
    const { view, requests } = this.#core;
    const errno = requests.errno[request] ?? 0;
    view.setUint32(at + 8, requests.cookieHigh[request] ?? 0);
    view.setUint32(at + 12, requests.cookieLow[request] ?? 0);
    if (!this.#structured || (errno === 0 && requests.command[request] !== Command.READ)) {
      view.setUint32(at, SIMPLE_REPLY_MAGIC);
      view.setUint32(at + 4, errno);
      return;
    }
    view.setUint32(at, CHUNK_MAGIC);
    view.setUint16(at + 4, CHUNK_DONE);
    if (errno !== 0) {
      view.setUint16(at + 6, ChunkType.ERROR);
      view.setUint32(at + 16, ERROR_CHUNK_BYTES);
      view.setUint32(at + 20, errno);
      view.setUint16(at + 24, 0);
      return;
    }
    const offset = requests.offset[request] ?? 0;
    view.setUint16(at + 6, ChunkType.OFFSET_DATA);
    view.setUint32(at + 16, OFFSET_DATA_BYTES + (requests.length[request] ?? 0));
    view.setUint32(at + 20, Math.floor(offset / 2 ** 32));
    view.setUint32(at + 24, offset >>> 0);
  }
}
