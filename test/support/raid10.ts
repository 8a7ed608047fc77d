import { arraySize } from "../../src/array/array-size.ts";
import { sector } from "../../src/base/units.ts";
import type { EngineConfig } from "../../src/engine/engine-protocol.ts";
import type { Raid10 } from "../../src/raid10/raid10.ts";
import { parseRaid10Layout } from "../../src/superblock/raid10-layout.ts";

export type Raid10Shape = Pick<EngineConfig, "level" | "layout" | "chunkSectors" | "memberSize" | "size" | "raidDisks">;

/** A RAID10 as people name its layout, with so many chunks on each member. */
export function raid10Shape(layoutName: string, raidDisks: number, chunkSectors: number, rows: number): Raid10Shape {
  const layout = parseRaid10Layout(layoutName);
  if (layout === null) throw new RangeError(`no layout ${layoutName}`);
  const memberSize = sector(rows * chunkSectors);
  const shape = { level: 10, layout, chunkSectors, raidDisks, memberSize };
  return { ...shape, size: arraySize(shape) };
}

/** Where each copy of an array sector is: raid_disk and sector from the start of data, in the order of the map. */
export function placesOf(personality: Raid10, at: number): readonly (readonly [raidDisk: number, on: number])[] {
  const disks = new Int32Array(personality.copies);
  const sectors = new Float64Array(personality.copies);
  personality.map(sector(at), disks, sectors);
  return Array.from(disks, (disk, copy) => [disk, sectors[copy] ?? -1] as const);
}

export type Md10Geometry = Pick<Raid10Shape, "layout" | "chunkSectors" | "memberSize" | "raidDisks">;

/** md's formula, step by step (on-disk format, 16.2): what our tables are compared with. Raid_disk and sector of each copy. */
export function mdPlaces(geometry: Md10Geometry, at: number): readonly (readonly [raidDisk: number, on: number])[] {
  const { layout, chunkSectors, memberSize, raidDisks } = geometry;
  const near = layout & 255;
  const far = (layout >> 8) & 255;
  const isOffset = (layout & 0x1_0000) !== 0;
  const set = farSetSize(layout, raidDisks);
  const lastSet = (Math.floor(raidDisks / set) - 1) * set;
  const lastSize = set + (raidDisks % set);
  const chunksOnMember = Math.floor(memberSize / chunkSectors);
  const arrayChunks = Math.floor((Math.floor(chunksOnMember / far) * raidDisks) / near);
  const used = Math.ceil((arrayChunks * near * far) / raidDisks);
  const stride = isOffset ? chunkSectors : Math.floor(used / far) * chunkSectors;
  const place = Math.floor(at / chunkSectors) * near;
  let row = Math.floor(place / raidDisks);
  let disk = place % raidDisks;
  if (isOffset) row *= far;
  let on = row * chunkSectors + (at % chunkSectors);
  const places: [number, number][] = [];
  for (let n = 0; n < near; n++) {
    let [d, s] = [disk, on];
    places.push([d, s]);
    for (let f = 1; f < far; f++) {
      const q = Math.floor(d / set);
      d += near;
      d = raidDisks % set !== 0 && d > lastSet ? lastSet + ((d - lastSet) % lastSize) : q * set + (d % set);
      s += stride;
      places.push([d, s]);
    }
    disk++;
    if (disk === raidDisks) {
      disk = 0;
      on += chunkSectors;
    }
  }
  return places;
}

const farSetSize = (layout: number, raidDisks: number): number => {
  const sets = layout >> 17;
  const far = (layout >> 8) & 255;
  return sets === 0 ? raidDisks : sets === 1 ? Math.floor(raidDisks / far) : (layout & 255) * far;
};

/** Sectors of the array that md makes of it. */
export function mdSize({ layout, chunkSectors, memberSize, raidDisks }: Md10Geometry): number {
  const chunksOnMember = Math.floor(memberSize / chunkSectors);
  return Math.floor((Math.floor(chunksOnMember / ((layout >> 8) & 255)) * raidDisks) / (layout & 255)) * chunkSectors;
}

/** md's walk: does an array without far sets go on with these members (on-disk format, 16.1)? */
export function mdEnough(
  { layout, raidDisks }: Pick<Md10Geometry, "layout" | "raidDisks">,
  alive: Uint8Array,
): boolean {
  const near = layout & 255;
  const copies = near * ((layout >> 8) & 255);
  let first = 0;
  do {
    let found = 0;
    for (let copy = 0; copy < copies; copy++) found += alive[(first + copy) % raidDisks] ?? 0;
    if (found === 0) return false;
    first = (first + near) % raidDisks;
  } while (first !== 0);
  return true;
}

/** Every choice of members, as an array can have them in sync. */
export const allSubsets = (raidDisks: number): readonly Uint8Array[] =>
  Array.from({ length: 2 ** raidDisks }, (_, mask) =>
    Uint8Array.from({ length: raidDisks }, (_disk, disk) => (mask >> disk) & 1),
  );
