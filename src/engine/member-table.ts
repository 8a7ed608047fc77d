import type { Personality } from "../array/personality.ts";
import { assert } from "../base/assert.ts";
import { MdError } from "../base/md-error.ts";
import { type Sector, sector } from "../base/units.ts";
import type { IoRing, Tag } from "../blockdev/io-ring.ts";
import type { EngineMember } from "./engine-protocol.ts";

/** blocked: it has failed, and not all nodes know yet; nobody reads or writes it. none: the raid_disk is empty. */
export const MemberState = { none: 0, inSync: 1, rebuilding: 2, blocked: 3, faulty: 4 } as const;

const stateOf = {
  in_sync: MemberState.inSync,
  rebuilding: MemberState.rebuilding,
  faulty: MemberState.faulty,
} as const;

/** The members by raid_disk: their state, where things are on them, and what is in flight. The only one to call the ring for them. */
export class MemberTable {
  /** The most raid_disks that there is room for: all arrays here are so long. */
  readonly width: number;
  readonly state: Uint8Array;
  /** Rebuilding: sectors from the start of data that are good. */
  readonly recoveredTo: Float64Array;
  /** Of a blocked member: what it was before. */
  readonly blockedFrom: Uint8Array;
  /** Operations in flight. */
  readonly inFlight: Int32Array;
  /** Sector after the last one read, from the start of data. */
  readonly head: Float64Array;
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
  #inSync = 0;
  #blocked = 0;
  #isWhole = false;
  #operations = 0;
  /** Operations that were ever begun. */
  begun = 0;
  /** Bytes: what the members' transfers must be aligned to. Fixed once requests are served. */
  blockSize = 512;

  /** `width`: room for as many raid_disks. */
  constructor(ring: IoRing, personality: Personality, width: number, readOnly: boolean) {
    assert(personality.raidDisks <= width, "there is room for every raid_disk");
    this.#ring = ring;
    this.#readOnly = readOnly;
    this.width = width;
    this.#personality = personality;
    this.#alive = new Uint8Array(width);
    this.state = new Uint8Array(width);
    this.recoveredTo = new Float64Array(width);
    this.blockedFrom = new Uint8Array(width);
    this.inFlight = new Int32Array(width);
    this.head = new Float64Array(width);
    this.#path = new Array<string | null>(width).fill(null);
    this.#device = new Int32Array(width).fill(-1);
    this.#dataOffset = new Float64Array(width);
    this.#bitmapAt = new Float64Array(width);
    this.#pillAt = new Float64Array(width).fill(-1);
  }

  get raidDisks(): number {
    return this.#personality.raidDisks;
  }

  /** Perhaps more raid_disks, empty ones; or fewer, of which those that go are empty. */
  setPersonality(personality: Personality): void {
    assert(personality.raidDisks <= this.width, "there is room for every raid_disk");
    for (let disk = personality.raidDisks; disk < this.raidDisks; disk++)
      assert(!this.isOpen(disk), `raid_disk ${disk} is in use`);
    this.#personality = personality;
    this.#count();
  }

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

  /** Has some sector no other copy that is in sync but the one on `disk`? */
  isLastCopy(disk: number): boolean {
    for (let one = 0; one < this.raidDisks; one++) this.#alive[one] = this.state[one] === MemberState.inSync ? 1 : 0;
    return this.#personality.isLastCopy(disk, this.#alive);
  }

  /** As `isLastCopy`, where a member whose failure is not settled still counts: it may turn out to be the last copy. */
  isLastEvenWithBlocked(disk: number): boolean {
    for (let one = 0; one < this.raidDisks; one++) {
      const state = this.state[one] === MemberState.blocked ? this.blockedFrom[one] : this.state[one];
      this.#alive[one] = state === MemberState.inSync ? 1 : 0;
    }
    return this.#personality.isLastCopy(disk, this.#alive);
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
    if (state === MemberState.inSync) return true;
    return state === MemberState.rebuilding && at + sectors <= (this.recoveredTo[disk] ?? 0);
  }

  isOpen(disk: number): boolean {
    return (this.#device[disk] ?? -1) !== -1;
  }

  /** Is this what the raid_disk holds, though perhaps in another state? */
  holds(member: EngineMember): boolean {
    return this.#path[member.raidDisk] === member.path;
  }

  /** Opens the device of a raid_disk that is empty. Throws what `openDevice` does, and E_VALUE for one that does not fit. */
  open(member: EngineMember, fixedBlockSize: boolean): void {
    const { raidDisk } = member;
    assert(!this.isOpen(raidDisk), `raid_disk ${raidDisk} has a device`);
    const device = this.#ring.openDevice(member.path, { readOnly: this.#readOnly });
    const blockSize = this.#ring.logicalBlockSize(device);
    if (fixedBlockSize && blockSize > this.blockSize) {
      this.#ring.closeDevice(device);
      throw new MdError("E_VALUE", `${member.path} has blocks of ${blockSize} bytes, the array has ${this.blockSize}`);
    }
    this.blockSize = Math.max(this.blockSize, blockSize);
    this.#path[raidDisk] = member.path;
    this.#device[raidDisk] = device;
    this.#dataOffset[raidDisk] = member.dataOffset;
    this.#bitmapAt[raidDisk] = member.bitmapAt;
    this.#pillAt[raidDisk] = member.pillAt ?? -1;
    this.head[raidDisk] = 0;
  }

  setState(disk: number, state: EngineMember["state"], recoveredTo: Sector): void {
    this.recoveredTo[disk] = recoveredTo;
    this.#set(disk, stateOf[state]);
  }

  block(disk: number): void {
    this.blockedFrom[disk] = this.state[disk] ?? MemberState.none;
    this.#set(disk, MemberState.blocked);
  }

  /** The member is gone from its raid_disk, though its device stays open until nothing of it is in flight. */
  empty(disk: number): void {
    this.#set(disk, MemberState.none);
  }

  close(disk: number): void {
    assert(this.inFlight[disk] === 0, `raid_disk ${disk} is closed with operations in flight`);
    const device = this.#device[disk] ?? -1;
    if (device === -1) return;
    this.#ring.closeDevice(device);
    this.#device[disk] = -1;
    this.#path[disk] = null;
  }

  /** `at` from the start of data. */
  read(disk: number, at: number, sectors: number, buffer: number, tag: Tag): void {
    this.#begin(disk);
    this.head[disk] = at + sectors;
    this.#ring.read(this.#deviceOf(disk), sector((this.#dataOffset[disk] ?? 0) + at), sectors, buffer, tag);
  }

  write(disk: number, at: number, sectors: number, buffer: number, flags: number, tag: Tag): void {
    this.#begin(disk);
    this.#ring.write(this.#deviceOf(disk), sector((this.#dataOffset[disk] ?? 0) + at), sectors, buffer, flags, tag);
  }

  /** `at` from the start of our slot's bitmap. */
  writeBitmap(disk: number, at: number, sectors: number, buffer: number, flags: number, tag: Tag): void {
    this.#begin(disk);
    this.#ring.write(this.#deviceOf(disk), sector((this.#bitmapAt[disk] ?? 0) + at), sectors, buffer, flags, tag);
  }

  hasPill(disk: number): boolean {
    return (this.#pillAt[disk] ?? -1) !== -1;
  }

  /** Our slot's pill on it. */
  readPill(disk: number, sectors: number, buffer: number, tag: Tag): void {
    this.#begin(disk);
    this.#ring.read(this.#deviceOf(disk), sector(this.#pillAt[disk] ?? 0), sectors, buffer, tag);
  }

  zero(disk: number, at: number, sectors: number, punch: boolean, tag: Tag): void {
    this.#begin(disk);
    this.#ring.zero(this.#deviceOf(disk), sector((this.#dataOffset[disk] ?? 0) + at), sectors, punch, tag);
  }

  flush(disk: number, tag: Tag): void {
    this.#begin(disk);
    this.#ring.flush(this.#deviceOf(disk), tag);
  }

  /** A completion of one of the above has come. */
  ended(disk: number): void {
    const left = (this.inFlight[disk] ?? 0) - 1;
    assert(left >= 0, `raid_disk ${disk} had nothing in flight`);
    this.inFlight[disk] = left;
    this.#operations--;
  }

  #begin(disk: number): void {
    this.inFlight[disk] = (this.inFlight[disk] ?? 0) + 1;
    this.#operations++;
    this.begun++;
  }

  #deviceOf(disk: number): number {
    const device = this.#device[disk] ?? -1;
    assert(device !== -1, `raid_disk ${disk} has no device`);
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
    for (let one = 0; one < this.width; one++) {
      this.#alive[one] = this.state[one] === MemberState.inSync ? 1 : 0;
      if (this.state[one] === MemberState.inSync) this.#inSync++;
      if (this.state[one] === MemberState.blocked) this.#blocked++;
    }
    this.#isWhole = this.#personality.survives(this.#alive);
  }
}
