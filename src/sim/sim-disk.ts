import { assert } from "../base/assert.ts";
import { SECTOR_SIZE } from "../base/units.ts";
import { SectorVersions } from "./sector-versions.ts";
import type { DiskArea } from "./sim-event.ts";
import type { SimThread } from "./sim-thread.ts";
import type { World } from "./world.ts";

/** Who does IO: while its thread lives it hears of completions, and what it submitted before may land even later. */
export interface DiskUser {
  /** The life's name, for the log. */
  readonly life: string;
  readonly thread: SimThread;
  /** What the node itself believes of its lease now, by its own clock. */
  leaseHolds(): boolean;
}

/** `source` and `target` are the caller's memory, looked at when the transfer happens, as a controller does. */
export type DiskOp =
  | { readonly type: "read"; readonly at: number; readonly target: Uint8Array }
  | { readonly type: "write"; readonly at: number; readonly source: Uint8Array; readonly durable: boolean }
  | { readonly type: "flush" };

/** Milliseconds, lowest and highest. */
export interface DiskTiming {
  readonly read: readonly [number, number];
  readonly write: readonly [number, number];
  readonly flush: readonly [number, number];
}

export const fastDisk: DiskTiming = { read: [0.05, 0.4], write: [0.1, 1], flush: [0.2, 2] };

/** Sectors that fail with EIO. */
export interface BadRange {
  readonly lo: number;
  readonly hi: number;
  readonly read: boolean;
  readonly write: boolean;
  /** False: it cannot be read even when it has been written. */
  readonly heals?: boolean;
}

interface Flight {
  readonly user: DiskUser;
  readonly op: DiskOp;
  completed: number;
  /** Parts that have not landed yet, in sectors. */
  pending: { lo: number; hi: number; cancel(): void }[];
  failed: boolean;
}

interface Waiting {
  readonly op: DiskOp;
  readonly user: DiskUser;
  readonly done: (result: number) => void;
}

const EIO = -5;

/** What is left of a bad range when [lo, hi) has been written. */
function withoutHealed(range: BadRange, lo: number, hi: number): readonly BadRange[] {
  if (range.heals === false || range.lo >= hi || range.hi <= lo) return [range];
  const left = [
    { ...range, hi: lo },
    { ...range, lo: hi },
  ];
  return left.filter((part) => part.lo < part.hi);
}

export interface SimDiskOptions {
  readonly path: string;
  readonly sectors: number;
  readonly timing?: DiskTiming;
  /** What lies where; for the log and the checkers. Default: everything is data. */
  readonly areaOf?: (sector: number) => DiskArea;
  /** Reads of data are events. Default: no. */
  readonly tellsReads?: boolean;
}

/**
 * A member that all nodes share: sectors behind a volatile cache. A write lands at some instant between submission and
 * completion (sometimes in two parts), is seen by every later read, and is safe from a power cut only once a flush that
 * was submitted after its completion, or the write itself if it was durable, has completed.
 */
export class SimDisk {
  readonly path: string;
  readonly sectors: number;
  readonly versions: SectorVersions;
  readonly areaOf: (sector: number) => DiskArea;
  /** Latencies are multiplied by it. */
  slowness = 1;
  /** Everything fails. */
  dead = false;
  bad: readonly BadRange[] = [];
  /** What it is given before then is done in time, but it may say so as late as that. */
  answersBy = 0;
  /** Sectors that hold what nobody wrote. */
  readonly rotten = new Set<number>();
  /** Sectors that it once refused to give. */
  readonly unread = new Set<number>();
  readonly #world: World;
  readonly #timing: DiskTiming;
  readonly #tellsReads: boolean;
  readonly #flights = new Set<Flight>();
  /** What a disk that hangs was given, and has not begun; null: it does not hang. */
  #waiting: Waiting[] | null = null;
  #completions = 0;

  constructor(
    world: World,
    { path, sectors, timing = fastDisk, areaOf = () => "data", tellsReads = false }: SimDiskOptions,
  ) {
    this.#world = world;
    this.path = path;
    this.sectors = sectors;
    this.#timing = timing;
    this.areaOf = areaOf;
    this.#tellsReads = tellsReads;
    this.versions = new SectorVersions(sectors);
  }

  /** A bit of the sector flips, and no error tells of it (F20). */
  rot(sector: number): void {
    const bytes = this.versions.current(sector).slice();
    const at = this.#world.random.integer(0, bytes.length);
    bytes[at] = (bytes[at] ?? 0) ^ (1 << this.#world.random.integer(0, 8));
    const origin = { completed: this.#completions };
    this.rotten.add(sector);
    this.versions.land(sector, sector + 1, bytes, 0, origin);
    this.versions.makeDurable(sector, sector + 1, origin);
  }

  /**
   * It begins and answers nothing any more, until `goOn`: then it does all that it was given meanwhile, but for writes of those
   * whose lease is over. Without somebody who sees to that there, no lease is worth anything (decision 1).
   */
  hang(): void {
    this.#waiting ??= [];
  }

  goOn(): void {
    const waiting = this.#waiting ?? [];
    this.#waiting = null;
    for (const { user, op, done } of waiting) {
      if (op.type !== "write" || user.leaseHolds()) this.#begin(op, user, done);
      else if (!user.thread.ended) done(EIO);
    }
  }

  /** `done` gets the bytes transferred, 0 for a flush, or a negative errno: in the kernel, not on the user's thread. */
  submit(op: DiskOp, user: DiskUser, done: (result: number) => void): void {
    if (op.type === "write") this.#tellSubmitted(op, user);
    if (this.#waiting === null) this.#begin(op, user, done);
    else this.#waiting.push({ op, user, done });
  }

  #begin(op: DiskOp, user: DiskUser, done: (result: number) => void): void {
    const flight: Flight = { user, op, completed: Number.POSITIVE_INFINITY, pending: [], failed: false };
    this.#flights.add(flight);
    const latency = this.#world.random.between(...this.#timing[op.type]) * this.slowness;
    if (op.type === "write") this.#plan(flight, op, latency);
    const watermark = this.#completions;
    const late = this.answersBy - this.#world.now;
    const answered = late > latency ? this.#world.random.between(latency, late) : latency;
    const answer = (result: number): void => {
      if (!user.thread.ended) done(result);
    };
    // What a read brings comes with its answer; anything else is done before.
    const completed = op.type === "read" ? answered : latency;
    this.#world.schedule(completed, null, () => {
      this.#flights.delete(flight);
      const result = this.#complete(flight, watermark);
      if (completed === answered) answer(result);
      else this.#world.schedule(answered - completed, null, () => answer(result));
    });
  }

  /** Its process is gone: what has not landed may do so in time, in part or never. */
  abandon(threads: readonly SimThread[]): void {
    if (this.#waiting !== null) this.#waiting = this.#waiting.filter(({ user }) => !threads.includes(user.thread));
    for (const flight of this.#flights) {
      if (!threads.includes(flight.user.thread)) continue;
      for (const part of flight.pending) {
        if (this.#world.random.chance(0.5)) part.cancel();
        else if (this.#world.random.chance(0.3)) part.hi = this.#world.random.integer(part.lo, part.hi + 1);
      }
    }
  }

  /** Un-flushed sectors survive or not, each by itself, and so do those of writes in flight. */
  powerCut(): void {
    for (const flight of this.#flights) {
      for (const part of flight.pending) {
        part.cancel();
        for (let sector = part.lo; sector < part.hi; sector++) {
          if (this.#world.random.chance(0.5)) this.#land(flight, sector, sector + 1);
        }
      }
    }
    this.#flights.clear();
    if (this.#waiting !== null) this.#waiting = [];
    this.versions.powerCut(this.#world.random);
  }

  #tellSubmitted(op: DiskOp & { type: "write" }, user: DiskUser): void {
    const lo = op.at;
    const hi = op.at + op.source.byteLength / SECTOR_SIZE;
    assert(lo >= 0 && hi <= this.sectors && Number.isInteger(hi) && hi > lo, `${this.path}: write of [${lo}, ${hi})`);
    const leaseHolds = user.leaseHolds();
    const event = { life: user.life, disk: this.path, lo, hi, area: this.areaOf(lo), leaseHolds };
    this.#world.emit({ type: "write_submitted", ...event });
  }

  #plan(flight: Flight, op: DiskOp & { type: "write" }, latency: number): void {
    const { random } = this.#world;
    const lo = op.at;
    const hi = op.at + op.source.byteLength / SECTOR_SIZE;
    const middle = hi - lo > 1 && random.chance(0.15) ? random.integer(lo + 1, hi) : hi;
    this.#planPart(flight, lo, middle, random.next() * latency);
    if (middle < hi) this.#planPart(flight, middle, hi, random.next() * latency);
  }

  #planPart(flight: Flight, lo: number, hi: number, delay: number): void {
    const part = { lo, hi, cancel: (): void => {} };
    const settled = (): void => {
      flight.pending = flight.pending.filter((other) => other !== part);
    };
    const timer = this.#world.schedule(delay, null, () => {
      settled();
      if (part.hi > part.lo) this.#land(flight, part.lo, part.hi);
    });
    part.cancel = () => {
      timer.cancel();
      settled();
    };
    flight.pending.push(part);
  }

  #land(flight: Flight, lo: number, hi: number): void {
    const { op, user } = flight;
    assert(op.type === "write", "only writes land");
    const end = this.#firstBad(lo, hi, "write") ?? hi;
    if (end < hi) flight.failed = true;
    if (end === lo) return;
    this.versions.land(lo, end, op.source, (lo - op.at) * SECTOR_SIZE, flight);
    if (this.bad.length > 0) this.bad = this.bad.flatMap((range) => withoutHealed(range, lo, end));
    this.#world.emit({
      type: "write_landed",
      life: user.life,
      disk: this.path,
      lo,
      hi: end,
      area: this.areaOf(lo),
    });
  }

  #complete(flight: Flight, watermark: number): number {
    const { op } = flight;
    const { life } = flight.user;
    const fail = (lo: number): number => {
      this.#world.emit({ type: "disk_error", life, disk: this.path, op: op.type, lo });
      return EIO;
    };
    switch (op.type) {
      case "read": {
        const hi = op.at + op.target.byteLength / SECTOR_SIZE;
        if (this.#firstBad(op.at, hi, "read") !== null) {
          for (let at = op.at; at < hi; at++) this.unread.add(at);
          return fail(op.at);
        }
        this.versions.read(op.at, op.target);
        if (this.#tellsReads && this.areaOf(op.at) === "data") {
          this.#world.emit({ type: "data_read", life, disk: this.path, lo: op.at, hi });
        }
        return op.target.byteLength;
      }
      case "write": {
        // What landed before the error is as good as any other write.
        flight.completed = ++this.#completions;
        if (flight.failed) return fail(op.at);
        const hi = op.at + op.source.byteLength / SECTOR_SIZE;
        if (op.durable) this.versions.makeDurable(op.at, hi, flight);
        return op.source.byteLength;
      }
      case "flush":
        if (this.dead) return fail(0);
        this.versions.flush(watermark);
        this.#world.emit({ type: "flushed", life, disk: this.path });
        return 0;
    }
  }

  /** Would any of it fail? */
  fails(op: "read" | "write", lo: number, hi: number): boolean {
    return this.#firstBad(lo, hi, op) !== null;
  }

  #firstBad(lo: number, hi: number, op: "read" | "write"): number | null {
    if (this.dead) return lo;
    let first: number | null = null;
    for (const range of this.bad) {
      if (!range[op] || range.lo >= hi || range.hi <= lo) continue;
      first = Math.min(first ?? hi, Math.max(range.lo, lo));
    }
    return first;
  }
}
