import { type Sector, sector } from "../base/units.ts";

/**
 * Sectors of an array whose members use `memberSize` each; that is also what its bitmap covers. Source: on-disk format,
 * 6.3 and 16.1.
 */
export function arraySize(shape: {
  readonly level: number;
  readonly layout: number;
  readonly raidDisks: number;
  readonly memberSize: number;
}): Sector {
  if (shape.level !== 10) return sector(shape.memberSize);
  const copies = (shape.layout & 0xff) * ((shape.layout >> 8) & 0xff);
  return sector(Math.floor((shape.memberSize * shape.raidDisks) / copies));
}
