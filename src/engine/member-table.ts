import type { Personality } from "../array/personality.ts";
import { assert } from "../base/assert.ts";
import { MdError } from "../base/md-error.ts";
import { type Sector, sector } from "../base/units.ts";
import type { IoRing, Tag } from "../blockdev/io-ring.ts";
import { BadBlocks } from "./bad-blocks.ts";
import type { EngineMember } from "./engine-protocol.ts";
import { MemberOps } from "./member-ops.ts";
import { TagKind, tagOf } from "./tag.ts";

/** blocked: it has failed, and not all nodes know yet; nobody reads or writes it. none: the place is empty. */
export const MemberState = { none: 0, inSync: 1, rebuilding: 2, blocked: 3, faulty: 4 } as const;

const stateOf = {
  in_sync: MemberState.inSync,
  rebuilding: MemberState.rebuilding,
  faulty: MemberState.faulty,
} as const;

/** The members by place: their state, where things are on them, and what is in flight. The only one to call the ring for them. */
export class MemberTable {
  /** The most raid_disks that there is room for. */
  readonly room: number;
  /** Places, two a raid_disk (see `secondPlace`): all arrays here but `front` are so long. */
  readonly width: number;
  /** By raid_disk: the place to read from. */
  readonly front: Int32Array;
  readonly state: Uint8Array;
  /** Rebuilding: sectors from the start of data that are good. */
  readonly recoveredTo: Float64Array;
  /** Of a blocked member: what it was before. */
  readonly blockedFrom: Uint8Array;
  /** Operations in flight; those that were given up do not count. */
  readonly inFlight: Int32Array;
  readonly ops = new MemberOps();
  /** Operations that were given up, and that the device still has. */
  readonly orphans: Int32Array;
  /** Not 0: it has had something for long, and is read only where no other copy is to be had. */
  readonly slow: Uint8Array;
  /** The same, by path: also of members that are gone. */
  readonly #orphansAt = new Map<string, number>();
  readonly #orphanPath = new Map<number, string>();
  /** Milliseconds of the clock, at the beginning of the turn. */
  now = 0;
  /** Sector after the last one read, from the start of data. */
  readonly head: Float64Array;
  /** Not 0: it is read only where no other copy is. */
  readonly writeMostly: Uint8Array;
  /** What members are known not to hold. */
  readonly badBlocks: BadBlocks;
  /** Changes whenever a member or its state does. */
  generation = 0;
  readonly #ring: IoRing;
  readonly #readOnly: boolean;
  readonly #path: (string | null)[];
  readonly #device: Int32Array;
  readonly #dataOffset: Float64Array;
  readonly #bitmapAt: Float64Array;
  /** -1: it has none. */
  readonly #pillAt: Float64Array;
  #personality: Personality;
  readonly #alive: Uint8Array;
  readonly #disk: Int32Array;
  readonly #sector: Float64Array;
  #places = 0;
  #hasSeconds = false;
  #inSync = 0;
  #blocked = 0;
  #isWhole = false;
  #operations = 0;
  /** Operations that were ever begun. */
  begun = 0;
  /** Bytes: what the members' transfers must be aligned to. Fixed once requests are served. */
  blockSize = 512;

  /** `room` for as many raid_disks. */
  constructor(ring: IoRing, personality: Personality, room: number, readOnly: boolean) {
    assert(personality.raidDisks <= room, "there is room for every raid_disk");
    const width = 2 * room;
    this.#ring = ring;
    this.#readOnly = readOnly;
    this.room = room;
    this.width = width;
    this.front = Int32Array.from({ length: room }, (_, disk) => disk);
    this.#personality = personality;
    this.#alive = new Uint8Array(width);
    this.#disk = new Int32Array(width);
    this.#sector = new Float64Array(width);
    this.badBlocks = new BadBlocks(width);
    this.state = new Uint8Array(width);
    this.recoveredTo = new Float64Array(width);
    this.blockedFrom = new Uint8Array(width);
    this.inFlight = new Int32Array(width);
    this.orphans = new Int32Array(width);
    this.slow = new Uint8Array(width);
    this.head = new Float64Array(width);
    this.writeMostly = new Uint8Array(width);
    this.#path = new Array<string | null>(width).fill(null);
    this.#device = new Int32Array(width).fill(-1);
    this.#dataOffset = new Float64Array(width);
    this.#bitmapAt = new Float64Array(width);
    this.#pillAt = new Float64Array(width).fill(-1);
  }

  get raidDisks(): number {
    return this.#personality.raidDisks;
  }

  raidDiskOf(place: number): number {
    return place < this.room ? place : place - this.room;
  }

  /** Is it a place of a raid_disk that there is? */
  isPlace(place: number): boolean {
    return place >= 0 && place < this.width && this.raidDiskOf(place) < this.raidDisks;
  }

  /** Those in use are all below. */
  get places(): number {
    return this.#places;
  }

  /** Some raid_disk has a member in its second place. */
  get hasSeconds(): boolean {
    return this.#hasSeconds;
  }

  /** Has the raid_disk an open device? */
  isUsed(disk: number): boolean {
    return this.isOpen(disk) || this.isOpen(disk + this.room);
  }

  /** Perhaps more raid_disks, empty ones; or fewer, of which those that go are empty. */
  setPersonality(personality: Personality): void {
    assert(personality.raidDisks <= this.room, "there is room for every raid_disk");
    for (let disk = personality.raidDisks; disk < this.raidDisks; disk++)
      assert(!this.isUsed(disk), `raid_disk ${disk} is in use`);
    this.#personality = personality;
    this.#count();
  }

  /** raid_disks that have a member in sync. */
  get inSync(): number {
    return this.#inSync;
  }

  get blocked(): number {
    return this.#blocked;
  }

  /** Every sector has a copy that is in sync. */
  get isWhole(): boolean {
    return this.#isWhole;
  }

  /** Which copy is left is being decided: nothing can be read or written until a failure is settled. */
  get isUndecided(): boolean {
    return !this.#isWhole && this.#blocked > 0;
  }

  /** Has some sector no other copy that is in sync but the one in `place`? */
  isLastCopy(place: number): boolean {
    return this.#isLast(place, false);
  }

  /** As `isLastCopy`, where a member whose failure is not settled still counts: it may turn out to be the last copy. */
  isLastEvenWithBlocked(place: number): boolean {
    return this.#isLast(place, true);
  }

  #isLast(place: number, withBlocked: boolean): boolean {
    this.#alive.fill(0);
    for (let one = 0; one < this.width; one++) {
      const counts = withBlocked && this.state[one] === MemberState.blocked ? this.blockedFrom[one] : this.state[one];
      if (one !== place && counts === MemberState.inSync) this.#alive[this.raidDiskOf(one)] = 1;
    }
    const disk = this.raidDiskOf(place);
    return this.#alive[disk] === 0 && this.#personality.isLastCopy(disk, this.#alive);
  }

  /** Some raid_disk has no in-sync member. */
  get isDegraded(): boolean {
    return this.#inSync < this.raidDisks;
  }

  /** On all members together. */
  get operations(): number {
    return this.#operations;
  }

  takesWrites(disk: number): boolean {
    const state = this.state[disk];
    return state === MemberState.inSync || state === MemberState.rebuilding;
  }

  /** May [at, at + sectors) from the start of data be read from it? */
  isReadable(disk: number, at: number, sectors: number): boolean {
    const state = this.state[disk];
    if (this.badBlocks.isBad(disk, at, at + sectors)) return false;
    if (state === MemberState.inSync) return true;
    return state === MemberState.rebuilding && at + sectors <= (this.recoveredTo[disk] ?? 0);
  }

  /** Of array sectors from `at` on, on one range of the map: as far as each copy is recorded as bad throughout, or not at all. */
  evenly(at: number, sectors: number): number {
    if (!this.badBlocks.any) return sectors;
    this.#personality.map(sector(at), this.#disk, this.#sector);
    let even = sectors;
    for (let i = 0; i < 2 * this.#personality.copies; i++) {
      const disk = this.#disk[i >> 1] ?? 0;
      const list = this.badBlocks.at((i & 1) === 0 ? disk : disk + this.room);
      const from = this.#sector[i >> 1] ?? 0;
      if (list !== null) even = list.sameUntil(from, from + even) - from;
    }
    return even;
  }

  isOpen(disk: number): boolean {
    return (this.#device[disk] ?? -1) !== -1;
  }

  /** Is this what its place holds, though perhaps in another state? */
  holds(member: EngineMember): boolean {
    return this.#path[member.place] === member.path;
  }

  /** Opens the device of a place that is empty. Throws what `openDevice` does, and E_VALUE for one that does not fit. */
  open(member: EngineMember, fixedBlockSize: boolean): void {
    const { place } = member;
    assert(!this.isOpen(place), `place ${place} has a device`);
    this.refuseHung(member.path);
    const device = this.#ring.openDevice(member.path, { readOnly: this.#readOnly });
    const blockSize = this.#ring.logicalBlockSize(device);
    if (fixedBlockSize && blockSize > this.blockSize) {
      this.#ring.closeDevice(device);
      throw new MdError("E_VALUE", `${member.path} has blocks of ${blockSize} bytes, the array has ${this.blockSize}`);
    }
    this.blockSize = Math.max(this.blockSize, blockSize);
    this.#path[place] = member.path;
    this.#device[place] = device;
    this.#dataOffset[place] = member.dataOffset;
    this.#bitmapAt[place] = member.bitmapAt;
    this.#pillAt[place] = member.pillAt ?? -1;
    this.head[place] = 0;
    this.writeMostly[place] = member.writeMostly ? 1 : 0;
    this.badBlocks.open(member);
  }

  setState(disk: number, state: EngineMember["state"], recoveredTo: Sector): void {
    this.recoveredTo[disk] = recoveredTo;
    this.#set(disk, stateOf[state]);
  }

  block(disk: number): void {
    this.blockedFrom[disk] = this.state[disk] ?? MemberState.none;
    this.#set(disk, MemberState.blocked);
  }

  /** The member is gone from its place, though its device stays open until nothing of it is in flight. */
  empty(disk: number): void {
    this.#set(disk, MemberState.none);
  }

  close(disk: number): void {
    assert(this.inFlight[disk] === 0, `place ${disk} is closed with operations in flight`);
    const device = this.#device[disk] ?? -1;
    if (device === -1) return;
    this.#ring.closeDevice(device);
    this.#device[disk] = -1;
    this.#path[disk] = null;
    this.badBlocks.close(disk);
    this.orphans[disk] = 0;
  }

  closeAll(): void {
    for (let place = 0; place < this.width; place++) this.close(place);
  }

  /** Whatever a device was asked before may still happen to it: E_DEVICE_BUSY. */
  refuseHung(path: string): void {
    const count = this.#orphansAt.get(path) ?? 0;
    if (count === 0) return;
    throw new MdError("E_DEVICE_BUSY", `${path} has not answered ${count} operations`, {
      why: "writes of before may still reach it",
    });
  }

  /** `at` from the start of data. */
  read(disk: number, at: number, sectors: number, buffer: number, tag: Tag): void {
    const op = this.#begin(disk, tag);
    this.head[disk] = at + sectors;
    this.#ring.read(this.#deviceOf(disk), sector((this.#dataOffset[disk] ?? 0) + at), sectors, buffer, op);
  }

  write(disk: number, at: number, sectors: number, buffer: number, flags: number, tag: Tag): void {
    const op = this.#begin(disk, tag);
    this.#ring.write(this.#deviceOf(disk), sector((this.#dataOffset[disk] ?? 0) + at), sectors, buffer, flags, op);
  }

  /** `at` from the start of our slot's bitmap. */
  writeBitmap(disk: number, at: number, sectors: number, buffer: number, flags: number, tag: Tag): void {
    const op = this.#begin(disk, tag);
    this.#ring.write(this.#deviceOf(disk), sector((this.#bitmapAt[disk] ?? 0) + at), sectors, buffer, flags, op);
  }

  /** Our slot's bitmap lies there from now on; no page of it is being written. */
  placeBitmap(place: number, at: Sector): void {
    this.#bitmapAt[place] = at;
  }

  hasPill(disk: number): boolean {
    return (this.#pillAt[disk] ?? -1) !== -1;
  }

  /** Our slot's pill on it. */
  readPill(disk: number, sectors: number, buffer: number, tag: Tag): void {
    const op = this.#begin(disk, tag);
    this.#ring.read(this.#deviceOf(disk), sector(this.#pillAt[disk] ?? 0), sectors, buffer, op);
  }

  zero(disk: number, at: number, sectors: number, punch: boolean, tag: Tag): void {
    const op = this.#begin(disk, tag);
    this.#ring.zero(this.#deviceOf(disk), sector((this.#dataOffset[disk] ?? 0) + at), sectors, punch, op);
  }

  flush(disk: number, tag: Tag): void {
    const op = this.#begin(disk, tag);
    this.#ring.flush(this.#deviceOf(disk), op);
  }

  /** A completion of one of the above has come. */
  ended(disk: number): void {
    const left = (this.inFlight[disk] ?? 0) - 1;
    assert(left >= 0, `place ${disk} had nothing in flight`);
    this.inFlight[disk] = left;
    this.#operations--;
  }

  /** It counts as ended for whoever asked for it; the device has it still. The device's path if it is the first, else null. */
  giveUp(op: number): string | null {
    const place = this.ops.placeOf(op);
    const path = this.#path[place] ?? "";
    const before = this.#orphansAt.get(path) ?? 0;
    this.ops.giveUp(op);
    this.orphans[place] = (this.orphans[place] ?? 0) + 1;
    this.#orphanPath.set(op, path);
    this.#orphansAt.set(path, before + 1);
    return before === 0 ? path : null;
  }

  /** The device has answered it at last. The device's path if that was all that had been given up, else null. */
  orphanEnded(op: number): string | null {
    const place = this.ops.placeOf(op);
    const path = this.#orphanPath.get(op) ?? "";
    const left = (this.#orphansAt.get(path) ?? 0) - 1;
    this.ops.end(op);
    this.#orphanPath.delete(op);
    if (left > 0) this.#orphansAt.set(path, left);
    else this.#orphansAt.delete(path);
    if (this.#path[place] === path) this.orphans[place] = (this.orphans[place] ?? 0) - 1;
    return left > 0 ? null : path;
  }

  /** The tag that the ring is to give back. */
  #begin(disk: number, tag: Tag): Tag {
    this.inFlight[disk] = (this.inFlight[disk] ?? 0) + 1;
    this.#operations++;
    this.begun++;
    return tagOf(TagKind.member, this.ops.begin(disk, tag, this.now));
  }

  #deviceOf(disk: number): number {
    const device = this.#device[disk] ?? -1;
    assert(device !== -1, `place ${disk} has no device`);
    return device;
  }

  #set(disk: number, state: number): void {
    this.state[disk] = state;
    this.#count();
  }

  #count(): void {
    this.generation++;
    this.#inSync = 0;
    this.#blocked = 0;
    this.#hasSeconds = false;
    this.#places = this.raidDisks;
    for (let disk = 0; disk < this.room; disk++) {
      const second = disk + this.room;
      const front = this.#frontOf(disk, second);
      this.front[disk] = front;
      const inSync = this.state[front] === MemberState.inSync;
      this.#alive[disk] = inSync ? 1 : 0;
      if (inSync) this.#inSync++;
      if (this.state[disk] === MemberState.blocked) this.#blocked++;
      if (this.state[second] === MemberState.blocked) this.#blocked++;
      if (this.state[second] === MemberState.none) continue;
      this.#hasSeconds = true;
      this.#places = second + 1;
    }
    this.#isWhole = this.#personality.survives(this.#alive);
  }

  #frontOf(first: number, second: number): number {
    if (this.state[first] === MemberState.inSync || this.state[second] === MemberState.none) return first;
    if (this.state[second] === MemberState.inSync) return second;
    return this.takesWrites(first) || !this.takesWrites(second) ? first : second;
  }
}
