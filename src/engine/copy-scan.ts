import { type SectorRange, sector, sectorRange } from "../base/units.ts";
import type { BitmapPath } from "./bitmap-path.ts";
import type { ChunkProgress } from "./chunk-progress.ts";
import type { EngineCore } from "./engine-core.ts";
import { MemberState } from "./member-table.ts";

/** The first run of chunks from `from` on that need a resync; null for none. */
export function nextNeeded(
  { personality: { size } }: EngineCore,
  { chunkSectors, intent: { counters } }: BitmapPath,
  progress: ChunkProgress,
  from: number,
): SectorRange | null {
  let chunk = counters.nextNeeded(Math.floor(from / chunkSectors));
  // Of a chunk that was not begun only all of it will do.
  if (chunk !== -1 && chunk * chunkSectors < from && !progress.continuesAt(from)) {
    chunk = counters.nextNeeded(chunk + 1);
  }
  if (chunk === -1) return null;
  let end = chunk + 1;
  while (end < counters.chunks && counters.needsSync(end)) end++;
  return sectorRange(Math.max(from, chunk * chunkSectors), Math.min(end * chunkSectors, size));
}

/** What some member that is being rebuilt lacks, from `from` on; null for nothing. */
export function nextRebuilding({ members, personality }: EngineCore, from: number): SectorRange | null {
  const { size } = personality;
  let lo: number = size;
  for (let disk = 0; disk < members.places; disk++) {
    if (members.state[disk] !== MemberState.rebuilding) continue;
    lo = Math.min(lo, personality.arrayFilledTo(sector(members.recoveredTo[disk] ?? 0)));
  }
  lo = Math.max(lo, from);
  return lo < size ? sectorRange(lo, size) : null;
}
