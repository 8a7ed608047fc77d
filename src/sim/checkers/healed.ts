import type { ArrayGeometry } from "../array-geometry.ts";
import type { ContentModel } from "../content-model.ts";
import { inSyncDisks } from "../disk-superblocks.ts";
import type { SimDisk } from "../sim-disk.ts";

/** What must hold once nothing is broken, written or resynced any more. Returns what does not. */
export function judgeHealed(
  geometry: ArrayGeometry,
  disks: readonly SimDisk[],
  content: ContentModel,
): readonly string[] {
  const wrong: string[] = [];
  const legs = inSyncDisks(disks, geometry);
  const [first] = legs;
  if (first === undefined) return ["no member is in sync"];
  for (let sector = 0; sector < geometry.size; sector++) {
    const at = geometry.dataAt + sector;
    const lost = content.judge(sector, first.versions.words, at);
    if (lost !== null) wrong.push(`${first.path}: ${lost}`);
    for (const leg of legs) {
      if (!first.versions.equals(leg.versions, at)) {
        wrong.push(`sector ${sector} differs between ${first.path} and ${leg.path}`);
      }
    }
  }
  for (const leg of legs) {
    for (let slot = 0; slot < geometry.slots; slot++) {
      const dirty = dirtyChunks(geometry, leg, slot);
      if (dirty.length > 0) wrong.push(`${leg.path}: slot ${slot} still has chunks ${dirty.join(", ")}`);
    }
  }
  return wrong.slice(0, 10);
}

/** Chunks with a bit in a slot's bitmap, as reads see it. */
export function dirtyChunks(geometry: ArrayGeometry, disk: SimDisk, slot: number): readonly number[] {
  const dirty: number[] = [];
  for (let chunk = 0; chunk < geometry.chunks; chunk++) {
    const { sector, byte, mask } = geometry.bitOf(slot, chunk);
    if (((disk.versions.current(sector)[byte] ?? 0) & mask) !== 0) dirty.push(chunk);
  }
  return dirty;
}
