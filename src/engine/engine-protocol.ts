import type { ArrayShape } from "../array/personality.ts";
import type { Sector, SectorRange, SlotNumber } from "../base/units.ts";
import type { ListenAddress } from "../blockdev/io-ring.ts";
import type { UblkServerOptions } from "../blockdev/ublk/ublk-server.ts";
import type { PillReader } from "../fencing/pill-check.ts";

/**
 * The seam between the planes, as two unions: small, rare and typed. Every command is answered by exactly one `done`
 * (or `refused`) with its id; what the data plane finds out by itself comes as `notice`.
 */

/**
 * in_sync: a full copy. rebuilding: takes writes, read only below its `recoveredTo`. faulty: takes nothing.
 * (`blocked`, between a failure and its being known everywhere, is the engine's own.)
 */
export type EngineMemberState = "in_sync" | "rebuilding" | "faulty";

/** A running array may grow to as many raid_disks without another start. */
const RESERVED_DISKS = 16;

/** How many raid_disks a data plane has room for that starts with `raidDisks`. */
export const roomFor = (raidDisks: number): number => Math.max(raidDisks, RESERVED_DISKS);

/**
 * A raid_disk has two places, as in md: the raid_disk itself, and that plus the room that there is for raid_disks. Most
 * of the time one of them is empty. Both are used while one device is replaced by another, which is filled meanwhile.
 */
export const secondPlace = (raidDisk: number, room: number): number => room + raidDisk;

/** What a member's bad-block log lists, and how it lists. */
export interface MemberBadBlocks {
  /** Sectors from the start of its data, of whole units, ascending and apart. */
  readonly ranges: readonly SectorRange[];
  /** Sectors. */
  readonly unit: number;
  /** Entries that it takes, and sectors that one of them names at most. */
  readonly room: number;
  readonly longest: number;
  /** False: a write error takes the member out all the same. */
  readonly takesWriteErrors: boolean;
}

export interface BadBlocksOf {
  readonly place: number;
  readonly ranges: readonly SectorRange[];
}

export interface EngineMember {
  /** See `secondPlace`. */
  readonly place: number;
  readonly path: string;
  /** First data sector on the device. */
  readonly dataOffset: Sector;
  /** Device sector where *our* slot's bitmap begins. */
  readonly bitmapAt: Sector;
  /** Device sector of *our* slot's pill; null: this member has none. */
  readonly pillAt: Sector | null;
  readonly state: EngineMemberState;
  /** Rebuilding: sectors from the start of data that are already good. */
  readonly recoveredTo: Sector;
  /** It is read only where no other copy is. */
  readonly writeMostly: boolean;
  /** As it comes in; from then on the data plane knows better. Default, or null: it has no bad-block log. */
  readonly badBlocks?: MemberBadBlocks | null;
}

export interface EngineBitmap {
  readonly slot: SlotNumber;
  /** Sectors per bit. */
  readonly chunkSectors: number;
  readonly chunks: number;
  /** Milliseconds: the lazy clearing period (daemon_sleep). */
  readonly flushMs: number;
  /** The 256 bytes before the bits, as on disk. The engine keeps events and events_cleared in it current. */
  readonly superblock: Uint8Array;
  /** The bits as found on disk, LSB first: each needs a resync. */
  readonly bits: Uint8Array;
  /** Bits of chunks whose copies are equal: they are cleared in time. Default: none. */
  readonly idle?: Uint8Array;
  /** False: the members have no bitmap, it is kept in memory alone. */
  readonly stored: boolean;
  readonly events: number;
}

export interface EngineConfig extends ArrayShape {
  readonly name: string;
  readonly members: readonly EngineMember[];
  readonly bitmap: EngineBitmap;
  /** How the data plane finds out on the members that it was taken over; null: it does not look. */
  readonly pill: PillReader | null;
  /** Milliseconds between two looks while members are used; before bitmap pages are written it looks anyway. */
  readonly pillEveryMs: number;
  readonly readOnly: boolean;
  /** Writes wait from the start on until `admitWrites`: see `holdWrites`. Default: no. */
  readonly holdsWrites?: boolean;
  readonly ring: "auto" | "io_uring" | "threads";
  /** The file that is held as long as anything is in flight (`IoRing.holdFile`). */
  readonly ioHold?: string;
  readonly queueDepth: number;
  /** KiB per second below which copies make no room for requests of front ends; see `CopySpeed`. Default: 0. */
  readonly copyLeast?: number;
  /** Milliseconds after which a member that has not answered is taken out, and is late; 0: never. */
  readonly ioTimeoutMs: number;
  readonly slowIoMs: number;
  /** Bytes of transfer memory. */
  readonly arenaBytes: number;
}

/**
 * The array as it is to be from now on. Chunks keep their bits; `need` names those (LSB first, of the new chunks) that
 * need a resync besides: sectors that are new to the array.
 */
export interface EngineShape {
  /** Sectors that the bitmap covers, and that copies may reach. How many may be asked for, `setCapacity` says. */
  readonly syncSize: Sector;
  readonly raidDisks: number;
  /** Sectors per bit. The bits must fit the pages that the bitmap has. */
  readonly chunkSectors: number;
  readonly need: Uint8Array;
}

export interface BitmapPlace {
  /** 256 bytes. */
  readonly superblock: Uint8Array;
  /** By raid_disk: device sector where our slot's bitmap begins. */
  readonly at: ReadonlyMap<number, Sector>;
}

export interface NbdExport {
  readonly type: "nbd";
  readonly address: ListenAddress;
  readonly exportName: string;
  readonly readOnly: boolean;
  /** CAN_MULTI_CONN is true of this export. */
  readonly multiConn: boolean;
}

/** A ublk device that was added, and is started when its queues are served. */
export interface UblkExport extends UblkServerOptions {
  readonly type: "ublk";
}

export type ArrayExport = NbdExport | UblkExport;

/** Reads go to the nearest idle copy, or all to the same one (first in-sync in raid_disk order). */
export type ReadBalance = "balanced" | "first";

/** What a copy works on: chunks whose bit says "needs resync", or everything in the range for a member being rebuilt. */
export type CopyKind = "resync" | "recover";

/** One request of md's check, 64 KiB: what a mismatch counts for. */
export const CHECK_SECTORS = 128;

/** The place whose copy is right; null: what more than half of all in-sync copies have. */
export interface RepairRule {
  readonly source: number | null;
}

/**
 * Sectors in which copies differ. `places`: those that are not as most are, none if it cannot be told. unreadable: they
 * cannot be read (and the others agree). repaired: they were overwritten with what is right. undecided: no copy is known
 * to be right, and nothing was written.
 */
export interface Mismatch extends SectorRange {
  readonly kind: "differs" | "unreadable" | "repaired" | "undecided";
  readonly places: readonly number[];
}

export type EngineCommand =
  /** No write of ours in `range` from the moment of the answer until `resume(slot)`. Replaces the slot's older range. */
  | { readonly type: "suspend"; readonly slot: SlotNumber; readonly range: SectorRange }
  | { readonly type: "resume"; readonly slot: SlotNumber }
  /** Opens the member if it is new. Not for failures of our own finding: those are settled by `settleFailure`. */
  | { readonly type: "setMember"; readonly member: EngineMember }
  /** Answer to `memberFailed`: it is faulty on all nodes now (held writes complete), or it is the last copy (they fail). */
  | { readonly type: "settleFailure"; readonly place: number; readonly outcome: "faulty" | "last_copy" }
  /** The member leaves its place; answered when nothing of it is in flight and its file is closed. */
  | { readonly type: "removeMember"; readonly place: number }
  | { readonly type: "setBalance"; readonly balance: ReadBalance }
  /** The array's event count: answered when our bitmap superblock with it is durable on all members. */
  | { readonly type: "setEvents"; readonly events: number }
  /** Sets these bits (LSB first) as needing resync; answered when they are durable in our bitmap on all members. */
  | { readonly type: "mergeBits"; readonly bits: Uint8Array }
  /** The first range at or after `from` that a copy of `kind` has work in. Answer carries `range`, null for none. */
  | { readonly type: "scan"; readonly kind: CopyKind; readonly from: Sector }
  /** Copies what needs it in `range`. Answer carries what was copied; bits are cleared lazily after the members flushed. */
  | {
      readonly type: "copy";
      readonly kind: CopyKind;
      readonly range: SectorRange;
      /** Recover: only these sectors of the members are filled. Default: all. */
      readonly section?: SectorRange | null;
    }
  /** KiB per second: see `EngineConfig.copyLeast`. */
  | { readonly type: "setCopyLeast"; readonly kib: number }
  /**
   * What the member in `place` cannot read in `range` is written to it from other copies, and read again. No other node
   * writes there meanwhile.
   */
  | { readonly type: "rewrite"; readonly place: number; readonly range: SectorRange }
  /**
   * Compares all in-sync copies of `range`, but for chunks that need a resync; with `repair` overwrites those that are not
   * right, and flushes. What was asked of no copy it leaves alone, and what is recorded as bad of a copy, which it tells of
   * (`badBlocksSeen`) if `tellBad`. E_VALUE if there are more copies than fit the memory.
   */
  | {
      readonly type: "compare";
      readonly range: SectorRange;
      readonly repair: RepairRule | null;
      readonly tellBad?: boolean;
    }
  /**
   * Another size, number of raid_disks or bits for more or fewer sectors. Requests wait while it changes, and a copy
   * under way ends as failed. Answered when our whole bitmap is durable in its new form. E_VALUE, E_MEMBER_ACTIVE: then
   * nothing has changed.
   */
  | { readonly type: "reshape"; readonly shape: EngineShape }
  /**
   * Where on the members our bitmap is from now on, and how it describes itself (its events stay as they are): answered
   * when all of it is durable there. Null: in memory alone; answered when no page of it is being written any more.
   */
  | { readonly type: "keepBitmap"; readonly on: BitmapPlace | null }
  /**
   * If there is no write now, those that come wait from the answer on (`held`), and the first of them is told of
   * (`writesHeld`): meanwhile the superblocks may say that the copies are equal. Source: md_write_start, safemode.
   */
  | { readonly type: "holdWrites" }
  /** Those that wait are let in, and all that come (errno 0); or are answered with `errno`, and what comes waits again. */
  | { readonly type: "admitWrites"; readonly errno: number }
  /**
   * Answer to `badBlocks`: the logs of all members say so, durably; or could not be written, and what waits for it fails.
   */
  | { readonly type: "badBlocksWritten"; readonly version: number; readonly durable: boolean }
  /** Members have no bad-block logs from now on. E_VALUE while something is recorded. */
  | { readonly type: "endBadBlocks" }
  /** Sectors that may be asked for. Answered when nothing beyond is in flight. */
  | { readonly type: "setCapacity"; readonly capacity: Sector }
  /** Everything in flight has ended and nothing is admitted until `unquiesce`. */
  | { readonly type: "quiesce" }
  | { readonly type: "unquiesce" }
  | { readonly type: "attach"; readonly frontEnd: ArrayExport }
  /** Its clients are told that it is over. */
  | { readonly type: "detach" }
  /** What a front end would find here. */
  | { readonly type: "querySeat" }
  /** Clears at once every bit that may be cleared. */
  | { readonly type: "flushBitmap" }
  /** Which bits are set on disk, and which of them need a resync. */
  | { readonly type: "queryBitmap" }
  /** Answered when front ends are drained (clients who can wait for another server are left waiting), members flushed and closed; then the loop ends. */
  | { readonly type: "stop" };

export type EngineAnswer =
  | { readonly type: "none" }
  | { readonly type: "scanned"; readonly range: SectorRange | null }
  /** `aimless`: no member was there to be filled. */
  | { readonly type: "copied"; readonly sectors: number; readonly failed: boolean; readonly aimless: boolean }
  /** Sectors rewritten and read again, and such that no other copy has. `givenUp`: it went no further. */
  | { readonly type: "rewritten"; readonly sectors: number; readonly lost: number; readonly givenUp: boolean }
  | Compared
  | { readonly type: "attached"; readonly port: number }
  | SeatAnswer
  | { readonly type: "held"; readonly held: boolean }
  | { readonly type: "bitmap"; readonly dirty: number; readonly needed: number; readonly bits: Uint8Array };

/** Bytes: of transfer memory for requests, and what they are aligned to. */
export interface SeatAnswer {
  readonly type: "seat";
  readonly arenaBytes: number;
  readonly blockSize: number;
}

export interface Compared {
  readonly type: "compared";
  readonly sectors: number;
  /** A member failed, or something else ended it: nothing is known of the range. */
  readonly failed: boolean;
  /** Sectors as md counts them: each request of 64 KiB for each copy that differs in it. */
  readonly mismatched: number;
  /** Ascending; `isCut`: there were more. */
  readonly ranges: readonly Mismatch[];
  readonly isCut: boolean;
  /** Chunks were left out that need a resync. */
  readonly unsettled: boolean;
}

/** What the data plane tells of its own accord. */
export type EngineNotice =
  | { readonly type: "started"; readonly ringKind: string; readonly ringAbout: string }
  /**
   * A write, flush or bitmap write failed. The member takes and serves nothing any more; writes that lost it wait for
   * `settleFailure` before they are acknowledged. Sent once per failure.
   */
  | {
      readonly type: "memberFailed";
      readonly place: number;
      readonly errno: number;
      readonly during: "write" | "flush" | "bitmap" | "copy" | "rewrite" | "timeout";
      readonly at: Sector;
    }
  /** The member has had something for longer than `slowIoMs`; or has answered all of that. */
  | { readonly type: "memberSlow"; readonly place: number; readonly slow: boolean }
  /** A device has something that was given up: until it has answered it may be no member, but for what it is now. */
  | { readonly type: "memberOwes"; readonly path: string }
  /** A device has answered all that had been given up. */
  | { readonly type: "memberAnswered"; readonly path: string }
  /** In [at, at + sectors) of the array, for a client, or in the course of a copy or a rewrite. */
  | {
      readonly type: "readError";
      readonly place: number;
      readonly errno: number;
      readonly at: Sector;
      readonly sectors: number;
      readonly during: "read" | "copy" | "rewrite";
    }
  /**
   * Lists of bad blocks have changed: these are the new ones. What hangs on it waits for `badBlocksWritten` with a version
   * that is no lower.
   */
  | { readonly type: "badBlocks"; readonly version: number; readonly members: readonly BadBlocksOf[] }
  /** A comparison has passed by what is recorded as bad there: it may be written anew. In sectors of the array. */
  | { readonly type: "badBlocksSeen"; readonly place: number; readonly at: Sector; readonly sectors: number }
  /** A member says that this node was taken over: nothing is written or answered any more. Final. */
  | { readonly type: "condemned"; readonly place: number }
  /** A write waits for `admitWrites`. Sent once until then. */
  | { readonly type: "writesHeld" }
  /** Mirrors may differ where they did not before: a write ended in the middle. */
  | { readonly type: "resyncNeeded" }
  /** The loop met a contradiction or lost its lease for good: the process must end. */
  | { readonly type: "fatal"; readonly message: string };

export type EngineToWorker = { readonly id: number; readonly command: EngineCommand };
export type WorkerToEngine =
  | { readonly type: "done"; readonly id: number; readonly answer: EngineAnswer }
  | { readonly type: "refused"; readonly id: number; readonly code: string; readonly message: string }
  | { readonly type: "notice"; readonly notice: EngineNotice };
