import { assert } from "../base/assert.ts";
import { MdError } from "../base/md-error.ts";
import { Errno } from "../blockdev/errno.ts";
import { type FrontEnd, type FrontEndSeat, RequestOp, type RequestSink } from "../blockdev/front-end.ts";
import type { IoRing } from "../blockdev/io-ring.ts";
import { counterIndex } from "./counter-index.ts";
import { EngineCommands } from "./engine-commands.ts";
import type { EngineCore } from "./engine-core.ts";
import { type EnginePaths, wirePaths } from "./engine-paths.ts";
import type { ArrayExport, EngineConfig, EngineToWorker, WorkerToEngine } from "./engine-protocol.ts";
import type { Personalities } from "./personalities.ts";
import { RequestQueue } from "./request-table.ts";
import type { SharedBlock } from "./shared-block.ts";
import { TAG_MASK, TAG_SHIFT, TagKind, tagOf } from "./tag.ts";

const EROFS = 30;
const ESHUTDOWN = 108;
/** Milliseconds: a lease that comes back is noticed so soon; nobody wakes the loop for it. */
const LEASE_POLL_MS = 10;
/** Milliseconds: so often a front end that is being drained is asked how far it is, and one that has no buffer whether it has. */
const FRONT_END_POLL_MS = 20;

/** Serves the array at an address; `port` of a TCP one. Throws MdError. */
export type OpenFrontEnd = (
  seat: FrontEndSeat,
  wanted: ArrayExport,
) => { readonly frontEnd: FrontEnd; readonly port: number };

export interface EngineLoopOptions {
  readonly config: EngineConfig;
  /** Belongs to the loop from now on; its owner closes it when the loop has ended. */
  readonly ring: IoRing;
  readonly shared: SharedBlock;
  /** `Clock.now`, as in the lease. */
  readonly now: () => number;
  readonly openFrontEnd: OpenFrontEnd;
  /** By default those that come with the engine. */
  readonly personalities?: Personalities;
}

/**
 * The data plane of one array: reap -> route -> admit -> take commands -> unplug -> submit. It owns everything that it
 * touches, waits nowhere but in the ring, and allocates nothing per request.
 */
export class EngineLoop {
  readonly ring: IoRing;
  readonly shared: SharedBlock;
  /** Where requests come in. */
  readonly sink: RequestSink;
  readonly #now: () => number;
  readonly #core: EngineCore;
  readonly #openFrontEnd: OpenFrontEnd;
  readonly #paths: EnginePaths;
  readonly #commands: EngineCommands;
  /** Came in and have not been looked at. */
  readonly #incoming: RequestQueue;
  #frontEnd: FrontEnd | null = null;
  #post: (message: WorkerToEngine) => void = () => {};
  #leaseHeld: boolean;
  /** Requests have been cancelled that may have to be answered. */
  #cancelled = false;
  /** Requests that were answered since the front end last ended a turn. */
  #finished = 0;
  #ended = false;
  /** How long the next turn may wait, if nothing happens before; null: something has. */
  #planned: number | null = null;

  /** Opens the members. Throws MdError: E_NO_DEVICE, E_IO, E_VALUE. */
  constructor({ config, ring, shared, now, openFrontEnd, personalities }: EngineLoopOptions) {
    this.ring = ring;
    this.shared = shared;
    this.#now = now;
    this.#leaseHeld = shared.leaseHolds(now());
    ring.guardWrites?.(() => shared.leaseHolds(now()));
    this.#openFrontEnd = openFrontEnd;
    const hooks: Parameters<typeof wirePaths>[3] = {
      notify: (notice) => this.#post({ type: "notice", notice }),
      startLater: (request) => this.#incoming.push(request),
      finish: (request, errno) => this.#finish(request, errno),
      deliver: (tag, result) => this.#carryOut(tag, result),
    };
    this.#paths = wirePaths(config, ring, shared, hooks, personalities);
    this.#core = this.#paths.core;
    this.#incoming = new RequestQueue(this.#core.table);
    this.sink = this.#makeSink();
    this.#commands = new EngineCommands({
      ...this.#paths,
      post: (message) => this.#post(message),
      attach: (wanted) => this.#attach(wanted),
      detach: (forGood) => this.#detach(forGood),
      seat: () => {
        const { sink, arenaBytes } = this.#seatOf();
        return { type: "seat", arenaBytes, blockSize: sink.blockSize };
      },
      end: () => {
        this.#ended = true;
      },
    });
  }

  /** After a `stop` was answered: nothing is in flight, the members are closed. */
  get ended(): boolean {
    return this.#ended;
  }

  /** Operations that a member has not answered, and that nobody waits for. */
  get givenUp(): number {
    return this.#core.members.ops.orphans;
  }

  /** To whom answers and notices go. */
  connect(post: (message: WorkerToEngine) => void): void {
    this.#post = post;
    const { kind, about } = this.ring;
    post({ type: "notice", notice: { type: "started", ringKind: kind, ringAbout: about } });
  }

  /** A command; carried out in the next turn. */
  take(message: EngineToWorker): void {
    this.#commands.take(message);
    this.#planned = null;
  }

  /** Seats a front end of the caller's own in place of one that `attach` would open; it is drained by `detach` and `stop`. */
  seat(make: (seat: FrontEndSeat) => FrontEnd): FrontEnd {
    if (this.#frontEnd !== null) throw new MdError("E_DEVICE_BUSY", "the array has a front end already");
    if (!this.#core.kept.isEmpty) {
      const why = "a member that does not answer may still use the memory of the export that has ended";
      throw new MdError("E_DEVICE_BUSY", "the array cannot be exported yet", { why });
    }
    const frontEnd = make(this.#seatOf());
    this.#frontEnd = frontEnd;
    this.#planned = null;
    return frontEnd;
  }

  /** One turn; waits in the ring if there is nothing to do. True: another should follow at once. */
  turn(): boolean {
    if (this.#ended) return false;
    const { members, suspended } = this.#core;
    const begun = members.begun;
    // Of a ring that blocks, the next turn follows the last one at once.
    const waited = this.ring.onReady === null && this.#planned !== null ? this.#planned : this.#waitMs();
    const completions = this.ring.submitAndReap(waited, this.#expected);
    // After the completions: what they brought was read before this instant.
    const now = this.#now();
    this.shared.turnBegan = now;
    this.#core.mayAnswer = this.shared.mayAnswer(now);
    members.now = now;
    this.#paths.reads.retryHeld();
    this.#paths.reads.retryElsewhere();
    this.#paths.failures.retryHeld();
    for (let i = 0; i < completions; i++) {
      this.#route(this.ring.completedTag[i] ?? 0, this.ring.completedResult[i] ?? 0);
    }
    this.#paths.hangs.look(now);
    const commands = this.#commands.run();
    this.#admit();
    if (this.#paths.bitmap.changed) {
      this.#paths.bitmap.changed = false;
      this.#paths.writes.bitmapChanged();
    }
    // The front end may come with more, which then shares the turn's page writes.
    this.#endFrontEndTurn();
    this.#admit();
    if (this.#cancelled) this.#sweepCancelled();
    else if (!suspended.isEmpty) this.#paths.writes.takeBack(false);
    this.#unplug();
    // Whoever is answered may look at it at once.
    this.shared.set(counterIndex.neededChunks, this.#paths.bitmap.intent.counters.needed);
    // Before whatever is answered on the strength of it.
    this.#tellBadBlocks();
    this.#commands.poll(this.#leaseHeld);
    if (this.#finished > 0) this.#endFrontEndTurn();
    this.#publish();
    if (this.#ended) return false;
    const wait = this.#waitMs();
    this.#planned = wait;
    // A ring that cannot block has been told when to come back: too late, if something waits for less by now.
    const tooLate = wait >= 0 && (waited <= 0 || wait < waited);
    return completions > 0 || commands > 0 || members.begun !== begun || tooLate;
  }

  #tellBadBlocks(): void {
    const { badBlocks } = this.#core.members;
    const members = badBlocks.untold();
    if (members === null) return;
    this.#post({ type: "notice", notice: { type: "badBlocks", version: badBlocks.version, members } });
  }

  /** The lease is looked at, and in the same breath everything that it allows goes out. */
  #unplug(): void {
    const now = this.#now();
    this.#leaseHeld = this.shared.leaseHolds(now);
    if (this.#leaseHeld && !this.#core.config.readOnly) {
      this.#paths.bitmap.tick(now);
      this.#paths.pill.tick(now);
      this.#paths.bitmap.issue(now);
      this.#paths.writes.issue();
    }
    this.#paths.pill.endTurn();
    this.#paths.copies.pump(this.#leaseHeld, now);
    this.#paths.rewrites.pump(this.#leaseHeld);
  }

  /** A single request is answered when all its legs have ended. */
  get #expected(): number {
    const { table, members, personality } = this.#core;
    return table.used === 1 && members.operations === personality.copies ? personality.copies : 1;
  }

  #waitMs(): number {
    if (this.#mayGoOn) return 0;
    const untilRound = this.#core.config.readOnly
      ? Number.POSITIVE_INFINITY
      : this.#paths.bitmap.untilRound(this.#now());
    const toWrite = this.#wantsToWrite || untilRound < LEASE_POLL_MS;
    const onLease = this.#answersHeld > 0 || (!this.#leaseHeld && toWrite);
    const onFrontEnd = this.#commands.isDraining || this.#paths.reads.waitsForBuffer;
    const polled = onLease ? LEASE_POLL_MS : onFrontEnd ? FRONT_END_POLL_MS : Number.POSITIVE_INFINITY;
    const onMembers = Math.min(untilRound, this.#paths.hangs.untilLook(this.#now()));
    const onOthers = onLease ? polled : Math.min(polled, onMembers);
    const wait = Math.min(onOthers, this.#frontEnd?.wantsTurnIn() ?? Number.POSITIVE_INFINITY);
    return wait === Number.POSITIVE_INFINITY ? -1 : Math.ceil(wait);
  }

  /** Requests that could be answered if this node were surely a member. */
  get #answersHeld(): number {
    const { reads, failures } = this.#paths;
    return this.#core.mayAnswer ? reads.held : reads.held + failures.held;
  }

  /** Is there something to do that waits for nothing? */
  get #mayGoOn(): boolean {
    if (this.#cancelled || this.#commands.waiting > 0 || this.#paths.copies.isRunnable) return true;
    if (this.#incoming.length > 0 && this.#admits) return true;
    if (this.#paths.bitmap.changed || this.#paths.rewrites.isRunnable(this.#leaseHeld)) return true;
    return this.#leaseHeld && this.#wantsToWrite;
  }

  get #wantsToWrite(): boolean {
    const { quiesced, config } = this.#core;
    if (config.readOnly) return false;
    if (this.#paths.writes.waitingAgain > 0 || this.#paths.bitmap.wantsToWrite) return true;
    if (this.#paths.writes.mayIssue && this.#paths.writes.waitingToIssue > 0) return true;
    return !quiesced && (this.#paths.copies.waitsToWrite || this.#paths.rewrites.waitsToWrite);
  }

  #route(tag: number, result: number): void {
    if (tag >>> TAG_SHIFT !== TagKind.member) {
      assert(tag >>> TAG_SHIFT >= TagKind.frontEnd, `a completion has tag ${tag}`);
      this.#frontEnd?.ringCompletion(tag & TAG_MASK, result);
      return;
    }
    const { ops } = this.#core.members;
    const op = tag & TAG_MASK;
    if (ops.isOrphan(op)) {
      this.#paths.hangs.ended(op);
      return;
    }
    const asked = ops.tagOf(op);
    ops.end(op);
    this.#carryOut(asked, result);
  }

  /** What was asked of a member has come to an end. */
  #carryOut(tag: number, result: number): void {
    const kind = tag >>> TAG_SHIFT;
    const index = tag & TAG_MASK;
    switch (kind) {
      case TagKind.request:
        this.#routeLeg(index, result);
        return;
      case TagKind.bitmapPage:
        this.#paths.bitmap.pageCompletion(index, result);
        return;
      case TagKind.memberFlush:
        this.#paths.bitmap.flushCompletion(index, result);
        return;
      case TagKind.pill:
        this.#paths.pill.completion(index, result);
        return;
      case TagKind.copy:
        this.#paths.copies.completion(index, result);
        return;
      case TagKind.rewrite:
        this.#paths.rewrites.completion(result);
        return;
      default:
        assert(kind === TagKind.copyFlush, `an operation has tag ${tag}`);
        this.#paths.copies.flushCompletion(index, result);
    }
  }

  #routeLeg(leg: number, result: number): void {
    const { table } = this.#core;
    switch (table.op[Math.floor(leg / table.width)]) {
      case RequestOp.read:
        this.#paths.reads.legCompletion(leg, result);
        return;
      case RequestOp.flush:
        this.#paths.flushes.legCompletion(leg, result);
        return;
      default:
        this.#paths.writes.legCompletion(leg, result);
        return;
    }
  }

  #makeSink(): RequestSink {
    const core = this.#core;
    const { table, config, members } = core;
    return {
      get size() {
        return core.capacity;
      },
      readOnly: config.readOnly,
      blockSize: members.blockSize,
      submit: (frontEnd, op, at, sectors, buffer, flags, cookie) => {
        const request = table.take(op);
        if (request === -1) return false;
        table.frontEnd[request] = frontEnd;
        table.at[request] = at;
        table.sectors[request] = sectors;
        table.buffer[request] = buffer;
        table.flags[request] = flags;
        table.cookie[request] = cookie;
        this.#incoming.push(request);
        return true;
      },
      cancel: (frontEnd, concerns) => this.#cancel(frontEnd, concerns),
    };
  }

  #cancel(frontEnd: FrontEnd, concerns: (cookie: number) => boolean): void {
    const { table } = this.#core;
    for (let request = 0; request < table.capacity; request++) {
      const op = table.op[request];
      if (table.frontEnd[request] !== frontEnd || op === RequestOp.read || op === RequestOp.flush) continue;
      if (!concerns(table.cookie[request] ?? 0)) continue;
      table.cancelled[request] = 1;
      this.#cancelled = true;
    }
  }

  #sweepCancelled(): void {
    this.#cancelled = false;
    for (let left = this.#incoming.length; left > 0; left--) {
      const request = this.#incoming.shift();
      if (this.#core.table.cancelled[request] !== 0) this.#finish(request, ESHUTDOWN);
      else this.#incoming.push(request);
    }
    this.#paths.writes.retrySuspended();
    this.#paths.writes.takeBack(false);
    this.#paths.writes.abandonAgain(false);
  }

  get #admits(): boolean {
    const { quiesced, members } = this.#core;
    return this.#refuses || !(quiesced || members.isUndecided);
  }

  /** When the end comes, nobody decides any more which copy is left. */
  get #refuses(): boolean {
    const { closed, stopping, members } = this.#core;
    return closed || (stopping && members.isUndecided);
  }

  #admit(): void {
    if (!this.#admits) return;
    for (let request = this.#incoming.shift(); request !== -1; request = this.#incoming.shift()) {
      this.#start(request);
    }
  }

  #start(request: number): void {
    const { table, config } = this.#core;
    if (this.#refuses) {
      this.#finish(request, ESHUTDOWN);
      return;
    }
    switch (table.op[request]) {
      case RequestOp.read:
        this.shared.add(counterIndex.readOps, 1);
        if (this.#isOutside(request)) this.#finish(request, Errno.EINVAL);
        else this.#paths.reads.start(request);
        return;
      case RequestOp.flush:
        this.shared.add(counterIndex.flushOps, 1);
        this.#paths.flushes.start(request);
        return;
      default: {
        const counter = table.op[request] === RequestOp.write ? counterIndex.writeOps : counterIndex.zeroOps;
        this.shared.add(counter, 1);
        if (config.readOnly) {
          this.#finish(request, EROFS);
          return;
        }
        if (this.#isOutside(request)) {
          this.#finish(request, Errno.EINVAL);
          return;
        }
        this.#paths.writes.start(request);
        return;
      }
    }
  }

  #isOutside(request: number): boolean {
    const { table, capacity } = this.#core;
    return table.end(request) > capacity || (table.sectors[request] ?? 0) <= 0;
  }

  #endFrontEndTurn(): void {
    this.#finished = 0;
    this.#frontEnd?.endTurn();
  }

  #finish(request: number, errno: number): void {
    const { table } = this.#core;
    this.#finished++;
    const frontEnd = table.frontEnd[request] ?? null;
    const cookie = table.cookie[request] ?? 0;
    if (!this.#core.kept.isEmpty) this.#leaveBuffer(request);
    table.release(request);
    frontEnd?.complete(cookie, errno);
  }

  /** A device that hangs may still use the request's buffer. */
  #leaveBuffer(request: number): void {
    const { table, kept } = this.#core;
    const frontEnd = table.frontEnd[request] ?? null;
    const buffer = table.buffer[request] ?? 0;
    const op = table.op[request];
    if (frontEnd === null || (op !== RequestOp.read && op !== RequestOp.write) || !kept.has(buffer)) return;
    frontEnd.keepBuffer(table.cookie[request] ?? 0, false);
    kept.leave(buffer, frontEnd);
  }

  #seatOf(): FrontEndSeat {
    const { at, bytes } = this.#paths.arena.frontEnd;
    return { ring: this.ring, sink: this.sink, arenaAt: at, arenaBytes: bytes, tagBase: tagOf(TagKind.frontEnd, 0) };
  }

  #attach(wanted: ArrayExport): number {
    let port = 0;
    this.seat((seat) => {
      const opened = this.#openFrontEnd(seat, wanted);
      port = opened.port;
      return opened.frontEnd;
    });
    return port;
  }

  /** True once no front end is left. */
  #detach(forGood: boolean): boolean {
    if (this.#frontEnd?.drain(forGood) === false) return false;
    this.#frontEnd = null;
    return true;
  }

  #publish(): void {
    const { shared } = this;
    const { counters } = this.#paths.bitmap.intent;
    // What was given up may still reach a member.
    shared.operations = this.#core.members.operations + this.#core.members.ops.orphans;
    shared.turnBegan = 0;
    shared.add(counterIndex.turns, 1);
    shared.set(counterIndex.inflight, this.#core.table.used);
    shared.set(counterIndex.waitingOnSuspend, this.#paths.writes.waitingOnSuspend);
    const onFailure =
      this.#core.members.blocked > 0 ? this.#paths.failures.held + this.#paths.writes.waitingOnBitmap : 0;
    shared.set(counterIndex.waitingOnFailure, onFailure);
    const writesHeld = this.#leaseHeld ? 0 : this.#paths.writes.waitingToIssue;
    shared.set(counterIndex.waitingOnLease, writesHeld + this.#answersHeld);
    shared.set(counterIndex.dirtyChunks, counters.dirty);
    shared.set(counterIndex.neededChunks, counters.needed);
  }
}
