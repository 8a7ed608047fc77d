import { sector, sectorRange, slotNumber } from "../../src/base/units.ts";
import type { FrontEnd, FrontEndSeat, RequestSink } from "../../src/blockdev/front-end.ts";
import { RequestOp } from "../../src/blockdev/front-end.ts";
import type { AnswerOf } from "../../src/engine/engine.ts";
import { EngineLoop } from "../../src/engine/engine-loop.ts";
import type { EngineCommand, EngineConfig, EngineMember, EngineNotice } from "../../src/engine/engine-protocol.ts";
import { LocalEngine } from "../../src/engine/local-engine.ts";
import type { Personalities } from "../../src/engine/personalities.ts";
import { SharedBlock } from "../../src/engine/shared-block.ts";
import { type FakeOp, FakeRing } from "./fake-ring.ts";

export const DATA_AT = 256;
export const BITMAP_AT = 16;
export const PILL_AT = 240;
const ARENA_BYTES = 2 * 1024 * 1024;
/** More turns without coming to rest are a loop without end. */
const MAX_TURNS = 20_000;

/** A request of the test: `errno` is null until it is answered. */
export interface TestRequest {
  errno: number | null;
  /** Another one when a member that hangs may use the first. */
  buffer: number;
}

export interface Sent<C extends EngineCommand> {
  answer: AnswerOf<C["type"]> | null;
  error: Error | null;
}

export interface EngineBenchOptions
  extends Partial<
    Pick<EngineConfig, "queueDepth" | "readOnly" | "holdsWrites" | "size" | "pill" | "ioTimeoutMs" | "slowIoMs">
  > {
  /** Default: yes. */
  readonly stored?: boolean;
  readonly disks?: number;
  /** Of a bit. */
  readonly chunkSectors?: number;
  /** By default RAID1; `size` then follows from it. */
  readonly shape?: Pick<EngineConfig, "level" | "layout" | "chunkSectors" | "memberSize" | "size">;
  readonly personalities?: Personalities;
  readonly bits?: Uint8Array;
  readonly members?: readonly Partial<EngineMember>[];
}

export const isData = (op: FakeOp): boolean => op.type !== "flush" && op.at >= DATA_AT;
export const isBitmap = (op: FakeOp): boolean => op.type === "write" && op.at < DATA_AT;
export const isWrite = (op: FakeOp): boolean => op.type === "write" && isData(op);
export const isRead = (op: FakeOp): boolean => op.type === "read" && isData(op);
export const on =
  (path: string, match: (op: FakeOp) => boolean = () => true) =>
  (op: FakeOp): boolean =>
    op.path === path && match(op);

/** One engine over a scripted ring, a front end that remembers, and a clock that stands still. */
export class EngineBench implements FrontEnd {
  readonly ring = new FakeRing(ARENA_BYTES);
  readonly shared = new SharedBlock();
  readonly loop: EngineLoop;
  readonly engine: LocalEngine;
  readonly notices: EngineNotice[] = [];
  readonly config: EngineConfig;
  readonly #requests = new Map<number, TestRequest>();
  readonly #sink: RequestSink;
  readonly #seat: FrontEndSeat;
  /** Buffers that the engine keeps. */
  readonly kept: number[] = [];
  #spares = Number.POSITIVE_INFINITY;
  #nextCookie = 1;
  #nextBuffer: number;
  #draining = false;
  now = 1000;
  wantedTurnIn = Number.POSITIVE_INFINITY;

  constructor(options: EngineBenchOptions = {}) {
    const { disks = 2, chunkSectors = 64, personalities } = options;
    const mirror = { level: 1, layout: 0, chunkSectors: 0, size: options.size ?? sector(4096) };
    const shape = options.shape ?? { ...mirror, memberSize: mirror.size };
    const { size, memberSize } = shape;
    const chunks = Math.ceil(size / chunkSectors);
    const paths = Array.from({ length: disks }, (_, i) => diskName(i));
    for (const path of paths) this.ring.disks.set(path, new Uint8Array((DATA_AT + memberSize) * 512));
    this.config = {
      name: "bench",
      ...shape,
      raidDisks: disks,
      members: paths.map((_, place) => ({ ...member(place), ...options.members?.[place] })),
      bitmap: {
        slot: slotNumber(0),
        chunkSectors,
        chunks,
        flushMs: 5000,
        superblock: new Uint8Array(256),
        bits: options.bits ?? new Uint8Array(Math.ceil(chunks / 8)),
        stored: options.stored ?? true,
        events: 7,
      },
      pill: options.pill ?? null,
      pillEveryMs: 100,
      ioTimeoutMs: options.ioTimeoutMs ?? 0,
      slowIoMs: options.slowIoMs ?? 0,
      readOnly: options.readOnly ?? false,
      holdsWrites: options.holdsWrites ?? false,
      ring: "auto",
      queueDepth: options.queueDepth ?? 64,
      arenaBytes: ARENA_BYTES,
    };
    this.shared.setLease(Number.POSITIVE_INFINITY);
    this.loop = new EngineLoop({
      config: this.config,
      ring: this.ring,
      shared: this.shared,
      now: () => this.now,
      openFrontEnd: () => {
        throw new Error("no exports here");
      },
      ...(personalities === undefined ? {} : { personalities }),
    });
    this.engine = new LocalEngine(this.loop, () => {});
    this.engine.onNotice((notice) => this.notices.push(notice));
    let taken: FrontEndSeat | null = null;
    this.loop.seat((seat) => {
      taken = seat;
      return this;
    });
    if (taken === null) throw new Error("there was no seat");
    this.#seat = taken;
    this.#sink = this.#seat.sink;
    this.#nextBuffer = this.#seat.arenaAt;
    this.run();
  }

  /** Turns until the loop has nothing more to do. */
  run(): void {
    for (let turns = 0; this.loop.turn(); turns++) {
      if (turns > MAX_TURNS) throw new Error("the loop does not come to rest");
    }
  }

  write(at: number, sectors: number, fill: number, flags = 0): TestRequest {
    const buffer = this.#buffer(sectors);
    this.ring.arena.fill(fill, buffer, buffer + sectors * 512);
    return this.submit(RequestOp.write, at, sectors, buffer, flags);
  }

  read(at: number, sectors: number): TestRequest {
    return this.submit(RequestOp.read, at, sectors, this.#buffer(sectors), 0);
  }

  flush(): TestRequest {
    return this.submit(RequestOp.flush, 0, 0, 0, 0);
  }

  /** Returns what was submitted, not yet looked at by the loop. */
  submit(op: RequestOp, at: number, sectors: number, buffer: number, flags: number): TestRequest {
    const cookie = this.#nextCookie++;
    const request: TestRequest = { errno: null, buffer };
    this.#requests.set(cookie, request);
    if (!this.#sink.submit(this, op, sector(at), sectors, buffer, flags, cookie)) throw new Error("no room");
    return request;
  }

  /** Nobody waits for the writes that were submitted so far. */
  cancel(): void {
    this.#sink.cancel(this, () => true);
  }

  /** Sends a command and lets the loop come to rest. */
  async send<C extends EngineCommand>(command: C): Promise<Sent<C>> {
    const sent: Sent<C> = { answer: null, error: null };
    this.engine.send(command).then(
      (answer) => {
        sent.answer = answer;
      },
      (error: Error) => {
        sent.error = error;
      },
    );
    this.run();
    await this.settle();
    return sent;
  }

  /** Lets promises that were resolved be heard. */
  async settle(): Promise<void> {
    for (let i = 0; i < 4; i++) await Promise.resolve();
  }

  /** Milliseconds pass, and the loop notices. */
  pass(ms: number): void {
    this.now += ms;
    this.run();
  }

  /** Bytes of a member's data; of a mirror they are the array's. */
  content(path: string, at: number, sectors: number): Uint8Array {
    const from = (DATA_AT + at) * 512;
    return (this.ring.disks.get(path) ?? new Uint8Array(0)).subarray(from, from + sectors * 512);
  }

  /** Is the bit set on the member? */
  bitOnDisk(path: string, chunk: number): boolean {
    const byte = this.ring.disks.get(path)?.[BITMAP_AT * 512 + 256 + (chunk >> 3)] ?? 0;
    return (byte & (1 << (chunk & 7))) !== 0;
  }

  failures(): readonly EngineNotice[] {
    return this.notices.filter(({ type }) => type === "memberFailed");
  }

  keepBuffer(cookie: number, another: boolean): number {
    const request = this.#requests.get(cookie);
    if (request === undefined) throw new Error(`request ${cookie} is nobody's`);
    if (another && this.#spares === 0) return -1;
    this.kept.push(request.buffer);
    if (!another) return -1;
    this.#spares--;
    request.buffer = this.#buffer(64);
    return request.buffer;
  }

  giveBack(buffer: number): void {
    this.kept.splice(this.kept.indexOf(buffer), 1);
  }

  /** So many more requests get another buffer. */
  set spares(count: number) {
    this.#spares = count;
  }

  ringCompletion(): void {}
  endTurn(): void {}
  wantsTurnIn(): number {
    return this.wantedTurnIn;
  }

  complete(cookie: number, errno: number): void {
    const request = this.#requests.get(cookie);
    if (request === undefined || request.errno !== null) throw new Error(`request ${cookie} is answered twice`);
    request.errno = errno;
    this.#requests.delete(cookie);
  }

  drain(): boolean {
    this.#draining = true;
    return this.#requests.size === 0;
  }

  get draining(): boolean {
    return this.#draining;
  }

  #buffer(sectors: number): number {
    const end = this.#seat.arenaAt + this.#seat.arenaBytes;
    if (this.#nextBuffer + sectors * 512 > end) this.#nextBuffer = this.#seat.arenaAt;
    const buffer = this.#nextBuffer;
    this.#nextBuffer += sectors * 512;
    return buffer;
  }
}

export const diskName = (place: number): string => `d${place}`;

export const member = (place: number): EngineMember => ({
  place,
  path: diskName(place),
  dataOffset: sector(DATA_AT),
  bitmapAt: sector(BITMAP_AT),
  pillAt: sector(PILL_AT),
  state: "in_sync",
  recoveredTo: sector(0),
  writeMostly: false,
});

export const range = sectorRange;
