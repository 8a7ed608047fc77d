import { assert } from "../../base/assert.ts";
import { greeting, type HandshakeState, handshakeStep, initialHandshake } from "./handshake.ts";
import { type NbdCore, NbdOperation } from "./nbd-core.ts";
import { NbdRequestQueue, NO_ROOM, NO_SHARE } from "./nbd-requests.ts";
import { Command, NbdErrno, REQUEST_BYTES, REQUEST_MAGIC } from "./protocol.ts";
import { refuseRequest } from "./refuse-request.ts";
import { ReplySender } from "./reply-sender.ts";
import { isWrite, sinkFlags } from "./sink-request.ts";

/** The payload of a WRITE up to here comes through the receive buffer; of a longer one the rest goes to its own place. */
const INLINE_PAYLOAD_BYTES = 64 * 1024;
/** Holds such a WRITE however it lies, and 32 WRITEs of 4 KiB. */
const RECEIVE_BYTES = 160 * 1024;
/** Replies that go out together: 32 READs of 4 KiB. */
const STAGING_BYTES = 160 * 1024;
/** So little is moved to the front of the receive buffer without a thought. */
const CHEAP_MOVE_BYTES = 8 * 1024;

/** Arena that a connection has for itself. */
export const CONNECTION_BYTES = RECEIVE_BYTES + STAGING_BYTES;

/**
 * One client, or the place for one. Free -> handshake -> transmission -> closing -> free; it is free again once nothing
 * of it is in flight, with the ring or with the array. `ended`: the client says no more, and gets what is outstanding.
 * What has been written by a client that went without DISC and was not issued yet is not written any more: it may be dead
 * and its successor, with another node, ahead of it.
 */
export class NbdConnection {
  readonly #core: NbdCore;
  readonly #index: number;
  readonly #tag: number;
  readonly #sender: ReplySender;
  readonly #receiveAt: number;
  #socket = -1;
  #handshake: HandshakeState = initialHandshake;
  #phase: "free" | "handshake" | "transmission" | "closing" = "free";
  #structured = false;
  #receiving = false;
  #ended = false;
  /** The client has closed its side: what it said before is all that will come. */
  #hungUp = false;
  #stalled = false;
  /** Since when it has a request before it for which others left no room; Infinity: it has none. */
  #starvedSince = Number.POSITIVE_INFINITY;
  /** READs whose data others needed the room of, while this client did not take it. */
  readonly #again: NbdRequestQueue;
  /** Arena offsets: what has arrived and is not used up. */
  #at: number;
  #end: number;
  /** The WRITE whose payload is being received to its own buffer; -1: none is. */
  #payloadOf = -1;
  #payloadAt = 0;
  #payloadLeft = 0;
  #payloadSince = 0;
  /** Payload of a refused WRITE that is still to come. */
  #unwanted = 0;

  constructor(core: NbdCore, index: number, arenaAt: number) {
    this.#core = core;
    this.#index = index;
    this.#tag = core.tagOf(NbdOperation.receive, index);
    this.#receiveAt = arenaAt;
    this.#at = arenaAt;
    this.#end = arenaAt;
    this.#again = new NbdRequestQueue(core.requests);
    this.#sender = new ReplySender(core, index, arenaAt + RECEIVE_BYTES, STAGING_BYTES);
  }

  get free(): boolean {
    return this.#phase === "free";
  }

  get inHandshake(): boolean {
    return this.#phase === "handshake";
  }

  /** It has a request before it for which there was no room. */
  get stalled(): boolean {
    return this.#stalled;
  }

  /** Milliseconds of the clock; Infinity: it has what it wants, or is itself what it waits for. */
  get starvedSince(): number {
    return this.#starvedSince;
  }

  /** Since when its client has neither taken what is being sent nor sent what is being taken; Infinity: it is not so. */
  get stuckSince(): number {
    return this.#payloadOf >= 0 && this.#receiving ? this.#payloadSince : this.#sender.stuckSince;
  }

  /** Others need room: it keeps what is being sent, and will read the rest again. */
  giveBackData(): void {
    if (this.#phase === "transmission") this.#sender.giveBackData(this.#again);
  }

  open(socket: number): void {
    assert(this.free, "a connection's place is taken twice");
    this.#socket = socket;
    this.#phase = "handshake";
    this.#handshake = initialHandshake;
    this.#structured = false;
    this.#ended = false;
    this.#hungUp = false;
    this.#isServed();
    this.#unwanted = 0;
    this.#at = this.#receiveAt;
    this.#end = this.#receiveAt;
    this.#sender.open(socket);
    this.#sender.sendBytes(greeting());
    this.#receive();
  }

  /** Its receive has completed. */
  received(result: number): void {
    this.#receiving = false;
    if (this.#phase === "closing") this.#dropPayload();
    else if (result > 0) this.#take(result);
    else if (result === 0) this.#hangUp();
    else this.close();
  }

  /** Its send has completed. */
  sent(result: number): void {
    if (!this.#sender.sent(result)) this.close();
    else if (this.#phase === "handshake") this.#negotiate();
  }

  /** The array has answered a request of it; `errno` as on the wire. */
  completed(request: number, errno: number): void {
    if (this.#phase === "closing") {
      this.#core.requests.release(request);
      return;
    }
    this.#core.requests.errno[request] = errno;
    this.#sender.push(request);
  }

  /** There may be room now for what it stalled on. */
  resume(): void {
    if (this.#phase === "transmission" && this.#readAgain()) this.#parse();
  }

  /** False: there is no room yet. While the client still does not take what is being sent, nothing is asked for. */
  #readAgain(): boolean {
    const { requests } = this.#core;
    while (this.#again.first !== -1 && !this.#sender.sending) {
      const request = this.#again.first;
      if (!requests.takeBufferAgain(request)) return this.#stall(NO_ROOM);
      this.#again.shift();
      this.#core.offer(request);
    }
    return true;
  }

  #isServed(): void {
    this.#stalled = false;
    this.#starvedSince = Number.POSITIVE_INFINITY;
  }

  #stall(why: number): false {
    this.#stalled = true;
    if (why === NO_SHARE) this.#starvedSince = Number.POSITIVE_INFINITY;
    else this.#starvedSince = Math.min(this.#starvedSince, this.#core.now());
    return false;
  }

  /** Sends what was collected. True: the place has become free. */
  endTurn(): boolean {
    if (this.#phase === "transmission") {
      this.#sender.pump();
      if (this.#again.first !== -1) this.#readAgain();
    }
    const done = this.#ended || (this.#core.draining && this.#phase === "transmission");
    if (done && this.#sender.idle && this.#outstanding() === 0) this.close();
    if (this.#phase !== "closing" || this.#receiving || this.#sender.sending) return false;
    if (this.#core.requests.heldBy(this.#index) > 0) return false;
    this.#phase = "free";
    return true;
  }

  /** Ends the connection: nobody gets an answer any more. What the members work on goes on. */
  close(): void {
    if (this.#phase === "closing" || this.#phase === "free") return;
    this.#phase = "closing";
    this.#isServed();
    this.#core.ring.closeSocket(this.#socket);
    this.#sender.abandon();
    for (let request = this.#again.shift(); request !== -1; request = this.#again.shift())
      this.#core.requests.release(request);
    if (!this.#receiving) this.#dropPayload();
    this.#core.withdraw(this.#index, true);
  }

  #hangUp(): void {
    this.#hungUp = true;
    this.#core.withdraw(this.#index, false);
    if (this.#phase === "transmission") this.#parse();
    else this.#ended = true;
  }

  /** Requests that will still be answered. One whose payload does not come any more never will. */
  #outstanding(): number {
    return this.#core.requests.heldBy(this.#index) - (this.#payloadOf >= 0 ? 1 : 0);
  }

  #dropPayload(): void {
    if (this.#payloadOf >= 0) this.#core.requests.release(this.#payloadOf);
    this.#payloadOf = -1;
  }

  #take(bytes: number): void {
    if (this.#payloadOf >= 0) {
      this.#payloadAt += bytes;
      this.#payloadLeft -= bytes;
      if (this.#payloadLeft === 0) {
        const request = this.#payloadOf;
        this.#payloadOf = -1;
        this.#core.offer(request);
      }
      this.#receive();
      return;
    }
    this.#end += bytes;
    if (this.#phase === "handshake") this.#negotiate();
    else this.#parse();
  }

  #negotiate(): void {
    const { arena } = this.#core.ring;
    while (!this.#sender.sending && !this.#ended) {
      const step = handshakeStep(this.#handshake, arena.subarray(this.#at, this.#end), this.#core.exported);
      this.#handshake = step.state;
      this.#at += step.consumed;
      if (step.reply.length > 0) this.#sender.sendBytes(step.reply);
      if (step.next === "wait") break;
      if (step.next === "close") this.#ended = true;
      if (step.next === "transmission") {
        this.#phase = "transmission";
        this.#structured = step.state.at === "transmission" && step.state.structured;
        if (this.#structured) this.#sender.useStructuredReplies();
        this.#parse();
        return;
      }
    }
    if (!this.#sender.sending) this.#receive();
  }

  /** Takes in every request that has arrived, as far as there is room. */
  #parse(): void {
    this.#stalled = false;
    // Who does not fetch what was asked for need not ask for more.
    if (this.#again.first !== -1) this.#stalled = true;
    else while (this.#phase === "transmission" && !this.#ended && this.#payloadOf < 0 && this.#parseOne());
    if (this.#hungUp && !this.#stalled) this.#ended = true;
    // Also while it is stalled, as far as there is room: the end of the stream must not go unnoticed.
    this.#receive();
  }

  /** False: it waits for more bytes or for room, or the connection is over. */
  #parseOne(): boolean {
    if (this.#unwanted > 0) {
      const skipped = Math.min(this.#unwanted, this.#end - this.#at);
      this.#unwanted -= skipped;
      this.#at += skipped;
      if (this.#unwanted > 0) return false;
    }
    const at = this.#at;
    const { view, requests, exported, draining } = this.#core;
    if (this.#end - at < REQUEST_BYTES) return false;
    const command = view.getUint16(at + 6);
    if (view.getUint32(at) !== REQUEST_MAGIC) {
      this.close();
      return false;
    }
    if (command === Command.DISC) {
      this.#ended = true;
      return false;
    }
    const flags = view.getUint16(at + 4);
    const offsetHigh = view.getUint32(at + 16);
    const offsetLow = view.getUint32(at + 20);
    const length = view.getUint32(at + 24);
    const refusal = refuseRequest(exported, this.#structured, command, flags, offsetHigh, offsetLow, length);
    const late = this.#hungUp && isWrite(command);
    const errno = draining || (late && refusal === 0) ? NbdErrno.ESHUTDOWN : refusal;
    const inline = command === Command.WRITE && errno === 0 && length <= INLINE_PAYLOAD_BYTES;
    if (inline && this.#end - at < REQUEST_BYTES + length) return false;
    // A receive that began while it was stalled brings payload to where it was begun for.
    if (command === Command.WRITE && errno === 0 && this.#receiving && this.#end - at < REQUEST_BYTES + length)
      return false;

    const data = errno === 0 && (command === Command.READ || command === Command.WRITE);
    const request = requests.take(this.#index, data ? length : 0);
    if (request < 0) return this.#stall(request);
    this.#starvedSince = Number.POSITIVE_INFINITY;
    requests.command[request] = command;
    requests.length[request] = length;
    requests.flags[request] = sinkFlags(flags);
    requests.cookieHigh[request] = view.getUint32(at + 8);
    requests.cookieLow[request] = view.getUint32(at + 12);
    requests.offset[request] = offsetHigh * 2 ** 32 + offsetLow;
    this.#at = at + REQUEST_BYTES;
    if (errno !== 0) {
      if (command === Command.WRITE) this.#unwanted = length;
      requests.errno[request] = errno;
      this.#sender.push(request);
    } else if (command !== Command.WRITE || this.#takePayload(request, length)) {
      this.#core.offer(request);
    }
    return true;
  }

  /** Moves what has arrived of the payload to its place; false: the rest is to be received there. */
  #takePayload(request: number, length: number): boolean {
    const { arena } = this.#core.ring;
    const buffer = this.#core.requests.buffer[request] ?? 0;
    const here = Math.min(length, this.#end - this.#at);
    arena.copyWithin(buffer, this.#at, this.#at + here);
    this.#at += here;
    if (here === length) return true;
    this.#payloadOf = request;
    this.#payloadAt = buffer + here;
    this.#payloadLeft = length - here;
    return false;
  }

  #receive(): void {
    const open = this.#phase === "handshake" || this.#phase === "transmission";
    if (this.#receiving || this.#hungUp || this.#ended || !open || this.#core.draining) return;
    const { ring } = this.#core;
    if (this.#payloadOf >= 0) {
      this.#receiving = true;
      this.#payloadSince = this.#core.now();
      ring.receive(this.#socket, this.#payloadAt, this.#payloadLeft, this.#tag);
      return;
    }
    this.#makeRoom();
    const room = this.#receiveAt + RECEIVE_BYTES - this.#end;
    if (room === 0) return;
    this.#receiving = true;
    ring.receive(this.#socket, this.#end, room, this.#tag);
  }

  /** What is left over is less than one request, so there is room for the rest of it; unless it is stalled. */
  #makeRoom(): void {
    const start = this.#receiveAt;
    const left = this.#end - this.#at;
    if (left > CHEAP_MOVE_BYTES && this.#at - start < RECEIVE_BYTES / 2) return;
    if (left > 0 && this.#at > start) this.#core.ring.arena.copyWithin(start, this.#at, this.#end);
    this.#at = start;
    this.#end = start + left;
  }
}
