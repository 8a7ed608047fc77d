import { MdError } from "../../src/base/md-error.ts";
import { bytesOf, type Sector, type SectorRange, sector, sectorRange } from "../../src/base/units.ts";
import { byteOfBit, maskOfBit } from "../../src/bitmap/bitmap-layout.ts";
import { bitIsSet, mergeBits, setBits } from "../../src/bitmap/bitmap-merge.ts";
import { reshapeBitmapSuper } from "../../src/bitmap/bitmap-super.ts";
import { convertBits } from "../../src/bitmap/resize-bits.ts";
import type { AnswerOf, Engine } from "../../src/engine/engine.ts";
import type {
  BitmapPlace,
  EngineAnswer,
  EngineCommand,
  EngineConfig,
  EngineMember,
  EngineNotice,
  EngineShape,
  Mismatch,
} from "../../src/engine/engine-protocol.ts";
import { roomFor } from "../../src/engine/engine-protocol.ts";
import { engineCounters, type SharedBlock } from "../../src/engine/shared-block.ts";
import { SuspendList } from "../../src/resync/suspend-list.ts";
import type { SharedDisks } from "./shared-disks.ts";

interface HeldWrite {
  readonly lost: ReadonlySet<number>;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

type State = EngineMember["state"] | "blocked";

/**
 * A data plane without a loop, for tests of the control plane: one write at a time, straight to the shared disks, by the
 * rules of the real one (bit before data, suspended ranges, held acknowledgements).
 */
export class FakeEngine implements Engine {
  readonly shared: SharedBlock;
  readonly members = new Map<number, { member: EngineMember; state: State }>();
  /** Chunks that need a resync, and chunks with a bit. */
  readonly needed = new Set<number>();
  readonly dirty = new Set<number>();
  readonly suspended = new SuspendList();
  readonly log: EngineCommand[] = [];
  balance = "first";
  events: number;
  eventsCleared = 0;
  attached = false;
  stopped = false;
  quiesced = false;
  holdsWrites: boolean;
  /** Other commands are carried out while a copy is under way. */
  copiesAside = false;
  /** A scan for a resync finds chunks that lie side by side together. */
  scansRuns = false;
  /** Sectors that no member can read. */
  readonly unreadable = new Set<number>();
  /** Sectors that one member cannot read until they are rewritten: "place sector". */
  readonly badSectors = new Set<string>();
  /** Called before each window is copied: the place to disturb. */
  onCopy: (range: SectorRange) => Promise<void> = async () => {};
  /** Called before each command: what it throws is the answer. */
  onCommand: (command: EngineCommand) => void = () => {};
  /** What each command waits for first. */
  delay: (command: EngineCommand) => Promise<void> | null = () => null;
  readonly #host: string;
  readonly #disks: SharedDisks;
  #config: EngineConfig;
  /** Sectors that may be asked for. */
  capacity: Sector;
  readonly #now: () => number;
  readonly #room: number;
  readonly #held: HeldWrite[] = [];
  /** Wait to be let in: with an errno. */
  #waiting: ((errno: number) => void)[] = [];
  #writing = 0;
  #listener: (notice: EngineNotice) => void = () => {};
  #wake: (() => void)[] = [];
  #queue: Promise<unknown> = Promise.resolve();

  constructor(host: string, disks: SharedDisks, config: EngineConfig, shared: SharedBlock, now: () => number) {
    this.#host = host;
    this.#disks = disks;
    this.#config = config;
    this.#room = roomFor(config.raidDisks);
    this.capacity = config.size;
    this.#now = now;
    this.shared = shared;
    this.events = config.bitmap.events;
    this.holdsWrites = config.holdsWrites ?? false;
    this.eventsCleared = Number(new DataView(config.bitmap.superblock.slice().buffer).getBigUint64(32, true));
    for (const member of config.members) this.members.set(member.place, { member, state: member.state });
    for (let chunk = 0; chunk < config.bitmap.chunks; chunk++) {
      if (!bitIsSet(config.bitmap.bits, chunk)) continue;
      this.needed.add(chunk);
      this.dirty.add(chunk);
    }
    for (const chunk of setBits(config.bitmap.idle ?? new Uint8Array(0), config.bitmap.chunks)) this.dirty.add(chunk);
  }

  onNotice(listener: (notice: EngineNotice) => void): void {
    this.#listener = listener;
    listener({ type: "started", ringKind: "fake", ringAbout: "test" });
  }

  /** As if the data plane had found that out. */
  notify(notice: EngineNotice): void {
    this.#listener(notice);
  }

  send<C extends EngineCommand>(command: C): Promise<AnswerOf<C["type"]>> {
    this.log.push(command);
    const begun = this.#queue.then(() => this.delay(command));
    const answer = begun.then(() => {
      if (this.stopped) throw new MdError("E_DAEMON", "the data plane has stopped");
      this.onCommand(command);
      return this.#carryOut(command);
    });
    if (!this.copiesAside || command.type !== "copy") this.#queue = answer.catch(() => {});
    return answer as Promise<AnswerOf<C["type"]>>;
  }

  /** A client's write of whole sectors filled with `fill`; resolves with its acknowledgement. */
  async write(at: number, sectors: number, fill: number): Promise<void> {
    this.shared.add(engineCounters.indexOf("writeOps"), 1);
    this.#writing++;
    try {
      await this.#write(at, sectors, fill);
    } finally {
      this.#writing--;
    }
  }

  async #write(at: number, sectors: number, fill: number): Promise<void> {
    if (this.holdsWrites) {
      const errno = await new Promise<number>((resolve) => {
        this.#waiting.push(resolve);
        if (this.#waiting.length === 1) this.#listener({ type: "writesHeld" });
      });
      if (errno !== 0) throw new Error(`errno ${errno}`);
    }
    while (this.suspended.blocks(at, at + sectors) || this.quiesced) {
      await new Promise<void>((resolve) => this.#wake.push(resolve));
    }
    if (!this.shared.leaseHolds(this.#now())) throw new Error("no lease");
    if (at + sectors > this.capacity) throw new Error("EINVAL");
    this.#setBits(at, at + sectors, this.dirty);
    const lost = new Set<number>();
    let copies = 0;
    for (const [place, entry] of this.members) {
      if (entry.state === "blocked") lost.add(place);
      if (entry.state !== "in_sync" && entry.state !== "rebuilding") continue;
      const { path, dataOffset } = entry.member;
      if (!this.#disks.isFailing(path, this.#host)) {
        this.#disks.poke(path, dataOffset + at, fill, sectors);
        if (entry.state === "in_sync") copies++;
      } else if (this.#inSync().some(([other]) => other !== place)) {
        lost.add(place);
        entry.state = "blocked";
        this.#listener({ type: "memberFailed", place, errno: -5, during: "write", at: sector(at) });
      } else {
        throw new Error("EIO");
      }
    }
    if (copies === 0) throw new Error("EIO");
    if (lost.size > 0) {
      await new Promise<void>((resolve, reject) => this.#held.push({ lost, resolve, reject }));
    }
  }

  /** What a client reads: of balanced reads the *last* copy, to show when that is not allowed. */
  read(at: number): number {
    const order = [...this.members].sort(([a], [b]) => a - b);
    const usable = order.filter(
      ([, { member, state }]) => state === "in_sync" || (state === "rebuilding" && at < member.recoveredTo),
    );
    const chunk = Math.floor(at / this.#config.bitmap.chunkSectors);
    const first = this.balance === "first" || this.suspended.blocks(at, at + 1) || this.needed.has(chunk);
    const chosen = first ? usable.find(([, { state }]) => state === "in_sync") : usable.at(-1);
    if (chosen === undefined) throw new Error("EIO");
    const { path, dataOffset } = chosen[1].member;
    return this.#disks.bytes(path)[bytesOf(sector(dataOffset + at))] ?? -1;
  }

  stateOf(place: number): State | "none" {
    return this.members.get(place)?.state ?? "none";
  }

  #inSync(): [number, { member: EngineMember; state: State }][] {
    return [...this.members].filter(([, { state }]) => state === "in_sync").sort(([a], [b]) => a - b);
  }

  get #degraded(): boolean {
    return new Set(this.#inSync().map(([place]) => place % this.#room)).size < this.#config.raidDisks;
  }

  #wakeWriters(): void {
    for (const wake of this.#wake.splice(0)) wake();
  }

  #setBits(lo: number, hi: number, into: Set<number>): void {
    const size = this.#config.bitmap.chunkSectors;
    for (let chunk = Math.floor(lo / size); chunk * size < hi; chunk++) into.add(chunk);
    this.#writeBitmap();
  }

  #clear(): void {
    if (this.#degraded) return;
    for (const chunk of this.dirty) {
      if (this.needed.has(chunk)) continue;
      this.dirty.delete(chunk);
      this.eventsCleared = this.events;
    }
  }

  /** All of our slot on every member that takes writes. */
  #writeBitmap(): void {
    const { superblock, chunks, stored } = this.#config.bitmap;
    this.shared.set(engineCounters.indexOf("dirtyChunks"), this.dirty.size);
    this.shared.set(engineCounters.indexOf("neededChunks"), this.needed.size);
    if (!stored) return;
    const page = new Uint8Array(Math.ceil((256 + Math.ceil(chunks / 8)) / 4096) * 4096);
    page.set(superblock);
    const view = new DataView(page.buffer);
    view.setBigUint64(24, BigInt(this.events), true);
    view.setBigUint64(32, BigInt(this.eventsCleared), true);
    for (const chunk of this.dirty) {
      const at = byteOfBit(chunk);
      page[at] = (page[at] ?? 0) | maskOfBit(chunk);
    }
    for (const { member, state } of this.members.values()) {
      if (state !== "in_sync" && state !== "rebuilding") continue;
      if (this.#disks.isFailing(member.path, this.#host)) continue;
      this.#disks.bytes(member.path).set(page, bytesOf(member.bitmapAt));
    }
  }

  async #carryOut(command: EngineCommand): Promise<EngineAnswer> {
    switch (command.type) {
      case "suspend":
        this.suspended.suspend(command.slot, command.range);
        return { type: "none" };
      case "badBlocksWritten":
      case "endBadBlocks":
        return { type: "none" };
      case "querySeat":
        return { type: "seat", arenaBytes: 0, blockSize: 512 };
      case "resume":
        this.suspended.resume(command.slot);
        this.#wakeWriters();
        return { type: "none" };
      case "setMember":
        this.#setMember(command.member);
        return { type: "none" };
      case "settleFailure":
        this.#settle(command.place, command.outcome);
        return { type: "none" };
      case "removeMember":
        this.members.delete(command.place);
        return { type: "none" };
      case "setBalance":
        this.balance = command.balance;
        return { type: "none" };
      case "setEvents":
        this.events = command.events;
        this.#writeBitmap();
        return { type: "none" };
      case "mergeBits":
        for (let chunk = 0; chunk < this.#config.bitmap.chunks; chunk++) {
          if (!bitIsSet(command.bits, chunk)) continue;
          this.dirty.add(chunk);
          this.needed.add(chunk);
        }
        this.#writeBitmap();
        return { type: "none" };
      case "scan":
        return { type: "scanned", range: this.#scan(command.kind, command.from) };
      case "copy":
        return this.#copy(command.kind, command.range);
      case "setCopyLeast":
        return { type: "none" };
      case "rewrite":
        return this.#rewrite(command.place, command.range);
      case "compare":
        return this.#compare(command.range);
      case "quiesce":
        this.quiesced = true;
        return { type: "none" };
      case "unquiesce":
        this.quiesced = false;
        this.#wakeWriters();
        return { type: "none" };
      case "reshape":
        this.#reshape(command.shape);
        return { type: "none" };
      case "keepBitmap":
        this.#keepBitmap(command.on);
        return { type: "none" };
      case "holdWrites":
        if (this.#writing > 0) return { type: "held", held: false };
        this.holdsWrites = true;
        return { type: "held", held: true };
      case "admitWrites":
        this.holdsWrites = command.errno !== 0;
        for (const admit of this.#waiting.splice(0)) admit(command.errno);
        return { type: "none" };
      case "setCapacity":
        if (command.capacity > this.#config.size) throw new MdError("E_VALUE", "beyond the array");
        this.capacity = command.capacity;
        return { type: "none" };
      case "attach":
        this.attached = true;
        return { type: "attached", port: 0 };
      case "detach":
        this.attached = false;
        return { type: "none" };
      case "flushBitmap":
        this.#clear();
        this.#writeBitmap();
        return { type: "none" };
      case "queryBitmap":
        return { type: "bitmap", dirty: this.dirty.size, needed: this.needed.size, bits: this.#bits(this.dirty) };
      case "stop":
        this.stopped = true;
        return { type: "none" };
    }
  }

  /** Of a member all of whose sectors can be written. */
  #rewrite(place: number, { lo, hi }: SectorRange): EngineAnswer {
    const source = this.#inSync().find(([other]) => other !== place)?.[1].member;
    const target = this.members.get(place)?.member;
    let [sectors, lost] = [0, 0];
    for (let at = lo; at < hi && target !== undefined; at++) {
      if (!this.badSectors.has(`${place} ${at}`)) continue;
      if (source === undefined || this.unreadable.has(at)) lost++;
      else {
        const from = bytesOf(sector(source.dataOffset + at));
        const data = this.#disks.bytes(source.path).slice(from, from + 512);
        this.#disks.bytes(target.path).set(data, bytesOf(sector(target.dataOffset + at)));
        this.badSectors.delete(`${place} ${at}`);
        sectors++;
      }
    }
    return { type: "rewritten", sectors, lost, givenUp: false };
  }

  #bits(chunks: ReadonlySet<number>): Uint8Array {
    const bits = new Uint8Array(Math.ceil(this.#config.bitmap.chunks / 8));
    for (const chunk of chunks) bits[chunk >> 3] = (bits[chunk >> 3] ?? 0) | (1 << (chunk & 7));
    return bits;
  }

  #reshape({ syncSize, raidDisks, chunkSectors, need }: EngineShape): void {
    const { bitmap, size } = this.#config;
    const chunks = Math.ceil(syncSize / chunkSectors);
    for (const place of this.members.keys()) {
      if (place % this.#room >= raidDisks) throw new MdError("E_MEMBER_ACTIVE", `place ${place} has a member`);
    }
    const from = { syncSize: size, chunkSectors: bitmap.chunkSectors, chunks: bitmap.chunks };
    const to = { syncSize, chunkSectors, chunks };
    const dirty = convertBits(this.#bits(this.dirty), from, to);
    const needed = convertBits(this.#bits(this.needed), from, to);
    mergeBits(needed, need);
    mergeBits(dirty, needed);
    const superblock = bitmap.superblock.slice();
    reshapeBitmapSuper(superblock, { syncSize, chunkBytes: chunkSectors * 512 });
    this.#config = {
      ...this.#config,
      raidDisks,
      size: syncSize,
      bitmap: { ...bitmap, chunkSectors, chunks, superblock },
    };
    this.capacity = sector(Math.min(this.capacity, syncSize));
    this.dirty.clear();
    this.needed.clear();
    for (const chunk of setBits(dirty, chunks)) this.dirty.add(chunk);
    for (const chunk of setBits(needed, chunks)) this.needed.add(chunk);
    this.#writeBitmap();
  }

  #keepBitmap(on: BitmapPlace | null): void {
    const { bitmap } = this.#config;
    this.#config = {
      ...this.#config,
      bitmap: { ...bitmap, stored: on !== null, superblock: on?.superblock ?? bitmap.superblock },
    };
    for (const [raidDisk, bitmapAt] of on?.at ?? []) {
      const entry = this.members.get(raidDisk);
      if (entry !== undefined) entry.member = { ...entry.member, bitmapAt };
    }
    this.#writeBitmap();
  }

  #setMember(member: EngineMember): void {
    const before = this.members.get(member.place);
    if (before?.state === "blocked") {
      if (member.state === "faulty") this.#settle(member.place, "faulty");
      return;
    }
    this.members.set(member.place, { member, state: member.state });
    this.#writeBitmap();
  }

  #settle(place: number, outcome: "faulty" | "last_copy"): void {
    const entry = this.members.get(place);
    if (entry?.state !== "blocked") return;
    entry.state = outcome === "faulty" ? "faulty" : "in_sync";
    for (const held of this.#held.splice(0)) {
      if (outcome === "last_copy" && held.lost.has(place)) held.reject(new Error("EIO"));
      else if ([...held.lost].some((one) => this.members.get(one)?.state === "blocked")) this.#held.push(held);
      else held.resolve();
    }
  }

  #scan(kind: "resync" | "recover", from: Sector): SectorRange | null {
    const { size, bitmap } = this.#config;
    if (kind === "recover") return from < size ? sectorRange(from, size) : null;
    for (let chunk = 0; chunk < bitmap.chunks; chunk++) {
      const range = sectorRange(chunk * bitmap.chunkSectors, Math.min((chunk + 1) * bitmap.chunkSectors, size));
      if (!this.needed.has(chunk) || range.hi <= from) continue;
      let end = chunk + 1;
      while (this.scansRuns && this.needed.has(end)) end++;
      return sectorRange(Math.max(range.lo, from), Math.min(end * bitmap.chunkSectors, size));
    }
    return null;
  }

  /** Sector by sector; it repairs nothing. */
  #compare({ lo, hi }: SectorRange): EngineAnswer {
    const copies = this.#inSync().map(([, { member }]) =>
      this.#disks.data(member.path, member.dataOffset + lo, hi - lo),
    );
    const ranges: Mismatch[] = [];
    for (let at = lo; at < hi; at++) {
      const from = (at - lo) * 512;
      const [first, ...others] = copies.map((copy) => Buffer.from(copy.subarray(from, from + 512)));
      if (first === undefined || others.every((other) => other.equals(first))) continue;
      ranges.push({ ...sectorRange(at, at + 1), kind: "differs", places: [] });
    }
    const mismatched = ranges.length > 0 ? 128 : 0;
    return { type: "compared", sectors: hi - lo, failed: false, mismatched, ranges, isCut: false, unsettled: false };
  }

  async #copy(kind: "resync" | "recover", { lo, hi }: SectorRange): Promise<EngineAnswer> {
    await this.onCopy(sectorRange(lo, hi));
    const [source] = this.#inSync();
    const targets = [...this.members].filter(([place, { state }]) =>
      kind === "recover" ? state === "rebuilding" : place !== source?.[0] && state !== "faulty" && state !== "blocked",
    );
    if (source === undefined) return { type: "copied", sectors: 0, failed: true, aimless: false };
    // The worst that may be expected of a data plane.
    if (kind === "recover" && targets.length === 0) return { type: "copied", sectors: 0, failed: false, aimless: true };
    const { path, dataOffset } = source[1].member;
    const content = this.#disks.data(path, dataOffset + lo, hi - lo);
    for (const [, entry] of targets) {
      if (this.#disks.isFailing(entry.member.path, this.#host)) {
        entry.state = "blocked";
        this.#listener({ type: "memberFailed", place: entry.member.place, errno: -5, during: "copy", at: lo });
        return { type: "copied", sectors: 0, failed: true, aimless: false };
      }
      const bytes = this.#disks.bytes(entry.member.path);
      const to = bytesOf(sector(entry.member.dataOffset + lo));
      // A mirror is all that it knows; of a larger array only the commands are real.
      bytes.set(content.subarray(0, Math.max(0, bytes.length - to)), Math.min(to, bytes.length));
    }
    const { chunkSectors } = this.#config.bitmap;
    for (const chunk of [...this.needed]) {
      const end = Math.min((chunk + 1) * chunkSectors, this.#config.size);
      const bad = [...this.unreadable].some((at) => Math.floor(at / chunkSectors) === chunk);
      if (kind === "resync" && end > lo && end <= hi && !bad) this.needed.delete(chunk);
    }
    this.#clear();
    this.#writeBitmap();
    const failed = [...this.unreadable].some((at) => at >= lo && at < hi);
    return { type: "copied", sectors: targets.length === 0 ? 0 : hi - lo, failed, aimless: false };
  }
}
