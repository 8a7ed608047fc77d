import { sector } from "../../src/base/units.ts";
import type { Superblock } from "../../src/superblock/superblock.ts";

/** The example of the on-disk format, section 17.1. */
export const exampleSuperblock: Superblock = {
  minor: 2,
  featureMap: 0x101,
  setUuid: Uint8Array.from({ length: 16 }, (_, i) => i),
  setName: "host:t1",
  ctime: { seconds: 1_700_000_000, microseconds: 0 },
  level: 1,
  layout: 0,
  size: sector(1_046_528),
  chunkSectors: 0,
  raidDisks: 2,
  bitmapOffset: 8,
  newLevel: 0,
  reshapePosition: 0n,
  deltaDisks: 0,
  newLayout: 0,
  newChunk: 0,
  newOffset: 0,
  dataOffset: sector(2048),
  dataSize: sector(1_046_528),
  superOffset: sector(8),
  recoveryOffset: 0n,
  devNumber: 0,
  correctedReads: 0,
  deviceUuid: Uint8Array.from({ length: 16 }, (_, i) => 0x40 + i),
  devFlags: 0,
  bblogShift: 0,
  bblogSize: 0,
  bblogOffset: 0,
  utime: { seconds: 1_700_000_000, microseconds: 0 },
  events: 7,
  resyncOffset: 0n,
  devRoles: [0, 1, ...new Array<number>(126).fill(0xffff)],
};

export const examplePlace = {
  path: "/dev/example",
  minor: 2,
  at: sector(8),
  deviceSize: sector(1_048_576),
} as const;
