import { assert } from "../../base/assert.ts";
import { MdError } from "../../base/md-error.ts";
import { SECTOR_SIZE, sectorsIn } from "../../base/units.ts";
import type { Clock } from "../../env/clock.ts";
import type { FrontEnd, FrontEndSeat, RequestSink } from "../front-end.ts";
import type { IoRing } from "../io-ring.ts";
import { BufferPool } from "./buffer-pool.ts";
import { describeExport } from "./export-description.ts";
import { CONNECTION_BYTES, NbdConnection } from "./nbd-connection.ts";
import { type NbdCore, NbdOperation, OPERATION_SHIFT } from "./nbd-core.ts";
import type { NbdExportOptions } from "./nbd-export-options.ts";
import { NbdRequestQueue, NbdRequests } from "./nbd-requests.ts";
import { MAX_PAYLOAD, MAX_STRING, NbdErrno } from "./protocol.ts";
import { isWrite, sinkOp, wireErrno } from "./sink-request.ts";
import { SlowClients } from "./slow-clients.ts";

const MAX_CONNECTIONS = 64;
const MAX_REQUESTS = 1024;
const TAG_MASK = 0xff_ffff;
const CONNECTION_MASK = (1 << OPERATION_SHIFT) - 1;
/** Milliseconds that clients have to fetch their last replies when the server stops. */
const DRAIN_MS = 2000;
/** Milliseconds until accepting is tried again when the system refused it. */
const ACCEPT_RETRY_MS = 100;
/** ENOMEM, ENFILE, EMFILE, ENOBUFS. */
const scarcity: ReadonlySet<number> = new Set([12, 23, 24, 105]);

/**
 * The NBD server as a front end. It listens from the moment it is made; the constructor throws MdError E_IO (address
 * in use, permission) and E_VALUE. `seat.arenaBytes` is best 64 MiB or more: below, the greatest payload shrinks (32 MiB
 * needs about 44 MiB), and so does the number of clients. `endTurn` may submit requests to the sink (those that waited
 * for room), so the loop calls it before it unplugs and submits.
 */
export class NbdServer implements FrontEnd {
  /** The TCP port that it listens on; 0 for a Unix socket. */
  readonly port: number;
  readonly #ring: IoRing;
  readonly #sink: RequestSink;
  readonly #clock: Pick<Clock, "now">;
  readonly #core: NbdCore;
  readonly #requests: NbdRequests;
  /** Checked, but the array had no room for them. Writes may have to wait for long; what changes nothing need not. */
  readonly #waitingWrites: NbdRequestQueue;
  readonly #waitingReads: NbdRequestQueue;
  readonly #connections: readonly NbdConnection[];
  readonly #slow: SlowClients;
  /** Indices of places in use, in order of age. */
  readonly #open: Uint16Array;
  #openCount = 0;
  #resumeFrom = 0;
  /** Connections that something happened to in this turn. */
  readonly #touched: Uint16Array;
  readonly #isTouched: Uint8Array;
  #touchedCount = 0;
  readonly #listener: number;
  readonly #acceptTag: number;
  #accepting = false;
  #retryAcceptAt = 0;
  #drainUntil = 0;

  constructor(seat: FrontEndSeat, options: NbdExportOptions, clock: Pick<Clock, "now">) {
    checkOptions(seat, options);
    const { ring, sink, tagBase } = seat;
    const { connections, poolBytes, maximumPayload } = shareArena(seat.arenaBytes);
    const poolAt = seat.arenaAt + connections * CONNECTION_BYTES;
    const pool = new BufferPool(poolAt, poolBytes);
    this.#ring = ring;
    this.#sink = sink;
    this.#clock = clock;
    this.#requests = new NbdRequests(MAX_REQUESTS, connections, pool, maximumPayload);
    this.#waitingWrites = new NbdRequestQueue(this.#requests);
    this.#waitingReads = new NbdRequestQueue(this.#requests);
    let describedSize = sink.size;
    let exported = describeExport(options, sink, maximumPayload);
    this.#core = {
      ring,
      view: new DataView(ring.arena.buffer, ring.arena.byteOffset, ring.arena.byteLength),
      get exported() {
        // The array may have grown or shrunk: who connects now is told so, and nobody gets beyond its end.
        if (describedSize !== sink.size) {
          describedSize = sink.size;
          exported = describeExport(options, sink, maximumPayload);
        }
        return exported;
      },
      requests: this.#requests,
      now: () => clock.now(),
      draining: false,
      offer: (request) => this.#offer(request),
      withdraw: (connection, all) => this.#withdraw(connection, all),
      tagOf: (operation, connection) => tagBase + ((operation << OPERATION_SHIFT) | connection),
    };
    this.#connections = Array.from(
      { length: connections },
      (_, i) => new NbdConnection(this.#core, i, seat.arenaAt + i * CONNECTION_BYTES),
    );
    this.#slow = new SlowClients(this.#connections, this.#requests, this.#core.now);
    this.#open = new Uint16Array(connections);
    this.#touched = new Uint16Array(connections);
    this.#isTouched = new Uint8Array(connections);
    this.#acceptTag = this.#core.tagOf(NbdOperation.accept, 0);
    this.#listener = ring.listen(options.address);
    this.port = ring.portOf(this.#listener);
    this.#accept();
  }

  /** Connections that are open or closing. */
  get connections(): number {
    return this.#openCount;
  }

  /** Requests in the table, and pages of the buffer pool that are free. All free when nothing is under way. */
  get usage(): { readonly requests: number; readonly freePages: number; readonly pages: number } {
    const { used, pool } = this.#requests;
    return { requests: used, freePages: pool.freePages, pages: pool.pages };
  }

  ringCompletion(tag: number, result: number): void {
    const operation = (tag & TAG_MASK) >>> OPERATION_SHIFT;
    const index = tag & CONNECTION_MASK;
    if (operation === NbdOperation.accept) {
      this.#accepted(result);
      return;
    }
    const connection = this.#connections[index];
    assert(connection !== undefined && !connection.free, "a completion is of no connection");
    this.#touch(index);
    if (operation === NbdOperation.receive) connection.received(result);
    else connection.sent(result);
  }

  complete(cookie: number, errno: number): void {
    const index = this.#requests.connection[cookie] ?? 0;
    this.#touch(index);
    this.#connections[index]?.completed(cookie, wireErrno(errno));
  }

  keepBuffer(cookie: number, another: boolean): number {
    return this.#requests.keepBuffer(cookie, another);
  }

  giveBack(buffer: number): void {
    this.#requests.giveBack(buffer);
  }

  endTurn(): void {
    this.#offerWaiting();
    this.#endConnectionTurns();
    // Replies that went out made room, perhaps at once for the replies to what came in then.
    this.#serveStalled();
    if (this.#slow.due()) {
      this.#slow.makeRoom((index) => this.#touch(index));
      this.#endConnectionTurns();
      this.#serveStalled();
    }
    if (!this.#accepting && !this.#core.draining && this.#clock.now() >= this.#retryAcceptAt) this.#accept();
  }

  wantsTurnIn(): number {
    if (this.#core.draining) return Number.POSITIVE_INFINITY;
    const untilRoom = this.#slow.wantsTurnIn();
    return this.#accepting ? untilRoom : Math.min(untilRoom, Math.max(0, this.#retryAcceptAt - this.#clock.now()));
  }

  drain(): boolean {
    const now = this.#clock.now();
    if (!this.#core.draining) {
      this.#core.draining = true;
      this.#drainUntil = now + DRAIN_MS;
      this.#ring.closeSocket(this.#listener);
    }
    for (let i = 0; i < this.#openCount; i++) {
      const index = this.#open[i] ?? 0;
      const connection = this.#connections[index];
      if (connection?.inHandshake || now >= this.#drainUntil) connection?.close();
      this.#touch(index);
    }
    this.#offerWaiting();
    this.#endConnectionTurns();
    return this.#openCount === 0 && !this.#accepting;
  }

  #offer(request: number): void {
    const waiting = isWrite(this.#requests.command[request] ?? 0) ? this.#waitingWrites : this.#waitingReads;
    if (waiting.first === -1 && this.#submit(request)) return;
    waiting.push(request);
  }

  #submit(request: number): boolean {
    const { command, offset, length, buffer, flags } = this.#requests;
    const at = sectorsIn(offset[request] ?? 0);
    const sectors = (length[request] ?? 0) / SECTOR_SIZE;
    const data = Math.max(0, buffer[request] ?? 0);
    return this.#sink.submit(this, sinkOp(command[request] ?? 0), at, sectors, data, flags[request] ?? 0, request);
  }

  #offerWaiting(): void {
    this.#offerAll(this.#waitingWrites);
    this.#offerAll(this.#waitingReads);
  }

  #offerAll(waiting: NbdRequestQueue): void {
    // Off the queue first: the array may complete it at once, and then it is on another.
    for (let request = waiting.shift(); request !== -1; request = waiting.shift()) {
      if (this.#submit(request)) continue;
      waiting.unshift(request);
      return;
    }
  }

  #withdraw(index: number, all: boolean): void {
    this.#withdrawFrom(this.#waitingWrites, index);
    if (all) this.#withdrawFrom(this.#waitingReads, index);
    const { connection } = this.#requests;
    this.#sink.cancel(this, (request) => connection[request] === index);
  }

  #withdrawFrom(waiting: NbdRequestQueue, index: number): void {
    for (let left = waiting.length; left > 0; left--) {
      const request = waiting.shift();
      if (this.#requests.connection[request] === index) {
        this.#touch(index);
        this.#connections[index]?.completed(request, NbdErrno.ESHUTDOWN);
      } else {
        waiting.push(request);
      }
    }
  }

  #touch(index: number): void {
    if (this.#isTouched[index] === 1) return;
    this.#isTouched[index] = 1;
    this.#touched[this.#touchedCount++] = index;
  }

  #endConnectionTurns(): void {
    for (let i = 0; i < this.#touchedCount; i++) {
      const index = this.#touched[i] ?? 0;
      this.#isTouched[index] = 0;
      if (this.#connections[index]?.endTurn()) this.#freed(index);
    }
    this.#touchedCount = 0;
  }

  #serveStalled(): void {
    while (this.#requests.released) {
      this.#requests.released = false;
      this.#resumeStalled();
      this.#endConnectionTurns();
    }
  }

  /** Each connection is the first to get room in its turn. */
  #resumeStalled(): void {
    const count = this.#openCount;
    this.#resumeFrom++;
    for (let i = 0; i < count; i++) {
      const index = this.#open[(this.#resumeFrom + i) % count] ?? 0;
      const connection = this.#connections[index];
      if (!connection?.stalled) continue;
      this.#touch(index);
      connection.resume();
    }
  }

  #accept(): void {
    this.#accepting = true;
    this.#ring.accept(this.#listener, this.#acceptTag);
  }

  #accepted(socket: number): void {
    this.#accepting = false;
    if (this.#core.draining) {
      if (socket >= 0) this.#ring.closeSocket(socket);
      return;
    }
    if (socket < 0) {
      // Out of descriptors or memory: at once it would fail again. Else it was the client that had gone already.
      if (scarcity.has(-socket)) this.#retryAcceptAt = this.#clock.now() + ACCEPT_RETRY_MS;
      else this.#accept();
      return;
    }
    const index = this.#connections.findIndex((connection) => connection.free);
    const connection = this.#connections[index];
    if (connection === undefined) this.#ring.closeSocket(socket);
    else {
      this.#open[this.#openCount++] = index;
      this.#requests.shareAmong(this.#openCount);
      connection.open(socket);
      if (this.#openCount === this.#connections.length) this.#evictOne(index);
    }
    this.#accept();
  }

  /** All places are taken: of those who have not got to an export yet the oldest goes, so that others can come. */
  #evictOne(newest: number): void {
    for (let i = 0; i < this.#openCount; i++) {
      const index = this.#open[i] ?? 0;
      const connection = this.#connections[index];
      if (index === newest || !connection?.inHandshake) continue;
      connection.close();
      this.#touch(index);
      return;
    }
  }

  #freed(index: number): void {
    const place = this.#open.indexOf(index);
    assert(place >= 0 && place < this.#openCount, "a place becomes free that was not taken");
    this.#open.copyWithin(place, place + 1, this.#openCount);
    this.#openCount--;
    this.#requests.shareAmong(this.#openCount);
  }
}

interface ArenaShares {
  readonly connections: number;
  readonly poolBytes: number;
  readonly maximumPayload: number;
}

/** At most a quarter for the connections' own buffers; the rest is the pool, which must hold the greatest payload. */
function shareArena(arenaBytes: number): ArenaShares {
  const connections = Math.min(MAX_CONNECTIONS, Math.max(1, Math.floor(arenaBytes / 4 / CONNECTION_BYTES)));
  const poolBytes = arenaBytes - connections * CONNECTION_BYTES;
  let maximumPayload = MAX_PAYLOAD;
  while (maximumPayload + 4096 > poolBytes) maximumPayload /= 2;
  return { connections, poolBytes, maximumPayload };
}

/** Room for one connection and requests of 64 KiB. */
const LEAST_ARENA_BYTES = CONNECTION_BYTES + 2 * 1024 * 1024;

function checkOptions({ arenaAt, arenaBytes }: FrontEndSeat, { exportName }: NbdExportOptions): void {
  assert(arenaAt + arenaBytes < 2 ** 31, "buffers are found by 31-bit offsets");
  if (arenaBytes < LEAST_ARENA_BYTES) {
    const why = `${arenaBytes} bytes of transfer memory, ${LEAST_ARENA_BYTES} are needed`;
    throw new MdError("E_VALUE", "the NBD server has too little memory", { why });
  }
  if (Buffer.byteLength(exportName) > MAX_STRING || exportName.includes("\0")) {
    throw new MdError("E_VALUE", `an export's name has at most ${MAX_STRING} bytes and no NUL`);
  }
}
