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
