import type { Sector } from "../base/units.ts";
import type { IoRing } from "./io-ring.ts";

/** What a front end asks of the array. Numbers: they live in typed arrays. */
export const RequestOp = { read: 0, write: 1, flush: 2, zero: 3, discard: 4 } as const;
export type RequestOp = (typeof RequestOp)[keyof typeof RequestOp];

/** The reply waits until the data is durable. */
export const REQUEST_FUA = 1;
/** Zeroes must keep their space allocated. */
export const REQUEST_NO_HOLE = 2;

/** What the engine's loop gives its front ends. */
export interface RequestSink {
  /** Of the exported array. */
  readonly size: Sector;
  readonly readOnly: boolean;
  /** Bytes: requests must be aligned to it. */
  readonly blockSize: number;
  /**
   * Takes a request in: checked by the front end (alignment, end of the array), any length up to the arena's buffer.
   * `buffer` is an arena offset that belongs to the request until `complete`. Never blocks; false when the request
   * table has no room (offer it again after the next `complete`): writes can fill theirs, and reads still go on.
   */
  submit(
    frontEnd: FrontEnd,
    op: RequestOp,
    at: Sector,
    sectors: number,
    buffer: number,
    flags: number,
    cookie: number,
  ): boolean;
  /**
   * Nobody waits any more for the writes (zeroes, discards) of `frontEnd` whose cookie `concerns` picks. As far as they
   * have not been issued to members they never will be, and `complete` with ESHUTDOWN, later than this call: their
   * client may write elsewhere by now, and be answered. Cold.
   */
  cancel(frontEnd: FrontEnd, concerns: (cookie: number) => boolean): void;
}

/**
 * The seat of NBD (and of ublk): it lives on the engine's ring and in the engine's loop. No call may block, allocate
 * per request or throw for what a client did.
 */
export interface FrontEnd {
  /** A completion of an operation that this front end submitted to the ring, by the low 24 bits of its tag. */
  ringCompletion(tag: number, result: number): void;
  /** The request `cookie` is done: 0, or a positive errno (5 EIO, 108 ESHUTDOWN). Its buffer is the front end's again. */
  complete(cookie: number, errno: number): void;
  /**
   * A device that does not answer may still use the request's buffer: it stays the engine's until `giveBack`. `another`: the
   * request goes on, in another one, whose arena offset is returned; -1: there is none now, and nothing has changed.
   * Else -1, and `complete` follows, with an error if it is a read.
   */
  keepBuffer(cookie: number, another: boolean): number;
  /** A buffer that was kept, by its arena offset. */
  giveBack(buffer: number): void;
  /** The turn ends: send what was collected. */
  endTurn(): void;
  /** Milliseconds until it wants a turn even if nothing happens; Infinity: it does not. Asked in every turn. */
  wantsTurnIn(): number;
  /**
   * Stop taking requests, answer what is outstanding, close; true once nothing is in flight. Called each turn until then.
   * Not `forGood`: clients who can wait for another server of the array may be left to it.
   */
  drain(forGood: boolean): boolean;
}

/** What the engine gives a front end when it is attached. */
export interface FrontEndSeat {
  readonly ring: IoRing;
  readonly sink: RequestSink;
  /** Its own part of the arena: byte offset and length, page aligned. */
  readonly arenaAt: number;
  readonly arenaBytes: number;
  /** To be added to the tags of its ring operations, which keep to the low 24 bits. */
  readonly tagBase: number;
}
