import type { Sector } from "../base/units.ts";

/** Where the superblock lies: 0 near the end of the device, 1 at its start, 2 at 4 KiB. */
export type SuperblockMinor = 0 | 1 | 2;

/** A time as md stores it: seconds since 1970 (40 bits) and microseconds (24 bits). */
export interface MdTime {
  readonly seconds: number;
  readonly microseconds: number;
}

/** md itself stores whole seconds, and its kernel takes microseconds for years. `wallMs` is `Clock.wall()`. */
export const mdTime = (wallMs: number): MdTime => ({ seconds: Math.floor(wallMs / 1000), microseconds: 0 });

/** Bits of the feature map. Others are refused: who does not know them must not write. */
export const Feature = {
  bitmapOffset: 1,
  recoveryOffset: 2,
  reshapeActive: 4,
  badBlocks: 8,
  replacement: 16,
  reshapeBackwards: 32,
  newOffset: 64,
  recoveryBitmap: 128,
  clustered: 256,
  journal: 512,
  ppl: 1024,
  multiplePpls: 2048,
  raid0Layout: 4096,
} as const;

export const KNOWN_FEATURES = 0x1fff;

/** Entries of `devRoles` that are no raid_disk. */
export const ROLE_JOURNAL = 0xfffd;
export const ROLE_FAULTY = 0xfffe;
/** A spare, or no such device. */
export const ROLE_SPARE = 0xffff;
/** Entries up to here name a raid_disk. */
const ROLE_MAX_ACTIVE = 0xfeff;

/** `resyncOffset` of an array whose copies are known to be equal. */
export const IN_SYNC = 0xffff_ffff_ffff_ffffn;

export const MAX_DEVICES = 1920;

/**
 * The md superblock, version 1.x: every field, so that encoding what was decoded gives the same bytes. Sectors are
 * 512 bytes. Array-wide fields come first; those from `featureMap` bits 1, 3, 4, 7 and from `dataOffset` on (but
 * `utime`, `events`, `resyncOffset`, `devRoles`) are the device's own.
 */
export interface Superblock {
  readonly minor: SuperblockMinor;
  readonly featureMap: number;
  /** 16 bytes: the array. */
  readonly setUuid: Uint8Array;
  /** `host:name`, at most 32 bytes of UTF-8. */
  readonly setName: string;
  readonly ctime: MdTime;
  readonly level: number;
  readonly layout: number;
  /** Sectors used on each member. */
  readonly size: Sector;
  /** Sectors; 0 for RAID1. */
  readonly chunkSectors: number;
  readonly raidDisks: number;
  /** Sectors from the superblock, signed; valid with `Feature.bitmapOffset`. */
  readonly bitmapOffset: number;
  readonly newLevel: number;
  /** Array sector; valid with `Feature.reshapeActive`. */
  readonly reshapePosition: bigint;
  readonly deltaDisks: number;
  readonly newLayout: number;
  readonly newChunk: number;
  readonly newOffset: number;
  readonly dataOffset: Sector;
  /** Sectors available for data on this device. */
  readonly dataSize: Sector;
  readonly superOffset: Sector;
  /** Sectors from the start of data; valid with `Feature.recoveryOffset`. */
  readonly recoveryOffset: bigint;
  /** This device's permanent number: its index into `devRoles`. */
  readonly devNumber: number;
  readonly correctedReads: number;
  /** 16 bytes: the device. */
  readonly deviceUuid: Uint8Array;
  /** 1 write-mostly, 2 failfast. */
  readonly devFlags: number;
  readonly bblogShift: number;
  readonly bblogSize: number;
  readonly bblogOffset: number;
  readonly utime: MdTime;
  readonly events: number;
  /** Sectors resynced from the start, `IN_SYNC` if all; always 0 on a clustered array that was started. */
  readonly resyncOffset: bigint;
  /** One entry for each possible device number; the length is `max_dev`. */
  readonly devRoles: readonly number[];
}

export const hasFeature = (superblock: Superblock, feature: number): boolean => (superblock.featureMap & feature) !== 0;

/** What the table of `superblock` says of device `number`. */
export const roleOf = (superblock: Superblock, number: number): number => superblock.devRoles[number] ?? ROLE_SPARE;

export const isActiveRole = (role: number): boolean => role <= ROLE_MAX_ACTIVE;

/** What it says of itself. */
export const ownRole = (superblock: Superblock): number => roleOf(superblock, superblock.devNumber);

/** It has a raid_disk and is no full copy yet. */
export const isRebuilding = (superblock: Superblock): boolean => hasFeature(superblock, Feature.recoveryOffset);
