import type { Personality } from "../array/personality.ts";
import { type Sector, type SectorRange, sector, sectorRange } from "../base/units.ts";

/**
 * A member is filled in its own order, as its superblock can only say how far that is: once through the array, or once for
 * each of its sections (far copies). So a position of a fill is an array sector, counted on from one pass to the next.
 */
export const fillEnd = ({ size, fillPasses = 1 }: Personality): Sector => sector(size * fillPasses);

/** Where to go on with a member that is filled below `memberAt`. */
export function fillPosition(personality: Personality, memberAt: Sector): Sector {
  const { pass, at } = personality.fillFrom?.(memberAt) ?? { pass: 0, at: personality.arrayFilledTo(memberAt) };
  return sector(pass * personality.size + at);
}

/** All before `position` is copied: a member is filled below this sector. */
export function memberFilledTo(personality: Personality, position: Sector): Sector {
  const { size, fillPasses = 1 } = personality;
  const pass = Math.min(Math.floor(position / size), fillPasses - 1);
  return personality.memberFilledTo(sector(position - pass * size), pass);
}

/** What `next` finds from `from` on, in this pass or a later one; it is asked for array sectors. */
export function nextInFill(
  personality: Personality,
  from: Sector,
  next: (from: Sector) => SectorRange | null,
): SectorRange | null {
  const { size, fillPasses = 1 } = personality;
  for (let pass = Math.floor(from / size); pass < fillPasses; pass++) {
    const before = pass * size;
    const found = next(sector(Math.max(from - before, 0)));
    if (found !== null) return sectorRange(before + found.lo, before + found.hi);
  }
  return null;
}

/** The array sectors of positions: of those in more than one pass all. */
export function arrayRangeOf({ size }: Personality, { lo, hi }: SectorRange): SectorRange {
  const before = Math.floor(lo / size) * size;
  return hi - before <= size ? sectorRange(lo - before, hi - before) : sectorRange(0, size);
}

/** What of members the pass at `position` fills; null: all of them. */
export function sectionAt(personality: Personality, position: Sector): SectorRange | null {
  const { size, fillPasses = 1 } = personality;
  return fillPasses > 1 ? (personality.fillSection?.(Math.floor(position / size)) ?? null) : null;
}
