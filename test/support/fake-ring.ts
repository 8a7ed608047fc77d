import { MdError } from "../../src/base/md-error.ts";
import type { DeviceIndex, IoRing, Tag } from "../../src/blockdev/io-ring.ts";

/** An operation on a member, as the engine asked for it. */
export interface FakeOp {
  readonly type: "read" | "write" | "flush" | "zero";
  readonly path: string;
  readonly at: number;
  readonly sectors: number;
  readonly flags: number;
  readonly punch: boolean;
  readonly buffer: number;
  readonly tag: Tag;
  /** Writes: what was in the buffer when it was submitted. */
  readonly data: Uint8Array;
}

type Match = (op: FakeOp) => boolean;

interface Fault {
  readonly match: Match;
  /** What completes instead: a negative errno, or bytes of a short transfer. */
  readonly result: number;
  times: number;
}

const EOPNOTSUPP = -95;

/** A ring over memory that does what a test tells it: complete, hold back, fail, cut short; and writes all down. */
export class FakeRing implements IoRing {
  readonly kind = "simulated";
  readonly about = "scripted by a test";
  readonly arena: Uint8Array;
  readonly wakeHandle = { type: "none" } as const;
  readonly onReady = null;
  readonly completedTag = new Uint32Array(4096);
  readonly completedResult = new Int32Array(4096);
  /** Every operation, in the order submitted. */
  readonly log: FakeOp[] = [];
  readonly disks = new Map<string, Uint8Array>();
  readonly open: (string | null)[] = [];
  lastWaitMs = 0;
  canZero = true;
  #queued: FakeOp[] = [];
  #held: FakeOp[] = [];
  #ready: { readonly tag: Tag; readonly result: number }[] = [];
  #holding: Match = () => false;
  #faults: Fault[] = [];

  constructor(arenaBytes: number) {
    this.arena = new Uint8Array(arenaBytes);
  }

  /** Operations like these stay in flight until `release`. */
  hold(match: Match): void {
    this.#holding = match;
  }

  /** Lets held ones complete, the last first if `reversed`. */
  release(match: Match = () => true, reversed = false): void {
    if (match.length === 0) this.#holding = () => false;
    const free = this.#held.filter(match);
    this.#held = this.#held.filter((op) => !free.includes(op));
    for (const op of reversed ? free.reverse() : free) this.#complete(op);
  }

  /** Nothing is held from here on; what is stays so. */
  holdNoMore(): void {
    this.#holding = () => false;
  }

  fail(match: Match, result: number, times = Number.POSITIVE_INFINITY): void {
    this.#faults.push({ match, result, times });
  }

  heal(): void {
    this.#faults = [];
  }

  get held(): readonly FakeOp[] {
    return this.#held;
  }

  openDevice(path: string): DeviceIndex {
    if (!this.disks.has(path)) throw new MdError("E_NO_DEVICE", `cannot open ${path}: ENOENT`);
    return this.open.push(path) - 1;
  }

  closeDevice(device: DeviceIndex): void {
    this.open[device] = null;
  }

  logicalBlockSize(): number {
    return 512;
  }

  read(device: DeviceIndex, at: number, sectors: number, buffer: number, tag: Tag): void {
    this.#queue({ type: "read", device, at, sectors, buffer, tag });
  }

  write(device: DeviceIndex, at: number, sectors: number, buffer: number, flags: number, tag: Tag): void {
    this.#queue({ type: "write", device, at, sectors, buffer, flags, tag });
  }

  flush(device: DeviceIndex, tag: Tag): void {
    this.#queue({ type: "flush", device, tag });
  }

  zero(device: DeviceIndex, at: number, sectors: number, punch: boolean, tag: Tag): void {
    this.#queue({ type: "zero", device, at, sectors, punch, tag });
  }

  submitAndReap(waitMs: number): number {
    this.lastWaitMs = waitMs;
    for (const op of this.#queued.splice(0)) {
      const submitted = { ...op, data: this.arena.slice(op.buffer, op.buffer + op.sectors * 512) };
      this.log.push(submitted);
      if (this.#holding(submitted)) this.#held.push(submitted);
      else this.#complete(submitted);
    }
    const done = this.#ready.splice(0);
    for (const [i, { tag, result }] of done.entries()) {
      this.completedTag[i] = tag;
      this.completedResult[i] = result;
    }
    return done.length;
  }

  #queue(op: Pick<FakeOp, "type" | "tag"> & { readonly device: DeviceIndex } & Partial<FakeOp>): void {
    const path = this.open[op.device];
    if (path == null) throw new RangeError("an operation on a device that is closed");
    const filling = { at: 0, sectors: 0, flags: 0, punch: false, buffer: 0, data: new Uint8Array(0) };
    this.#queued.push({ ...filling, ...op, path });
  }

  #complete(op: FakeOp): void {
    const fault = this.#faults.find(({ match, times }) => times > 0 && match(op));
    if (fault !== undefined) fault.times--;
    const bytes = op.sectors * 512;
    let result = fault?.result ?? (op.type === "read" || op.type === "write" ? bytes : 0);
    if (op.type === "zero" && fault === undefined && !this.canZero) result = EOPNOTSUPP;
    this.#ready.push({ tag: op.tag, result });
    if (result < 0) return;
    const disk = this.disks.get(op.path) ?? new Uint8Array(0);
    if (op.type === "read") this.arena.set(disk.subarray(op.at * 512, op.at * 512 + result), op.buffer);
    if (op.type === "write") disk.set(op.data.subarray(0, result), op.at * 512);
    if (op.type === "zero") disk.fill(0, op.at * 512, op.at * 512 + bytes);
  }

  listen(): number {
    throw new MdError("E_IO", "no sockets here");
  }
  portOf(): number {
    return 0;
  }
  accept(): void {}
  receive(): void {}
  sendNow(): number {
    return 0;
  }
  send(): void {}
  closeSocket(): void {}
  close(): void {}
}
