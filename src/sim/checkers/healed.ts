import { Feature, hasFeature } from "../../superblock/superblock.ts";
import type { ArrayGeometry } from "../array-geometry.ts";
import type { ContentModel } from "../content-model.ts";
import { inSyncLegs, newestSuperblock } from "../disk-superblocks.ts";
import { listedSectors } from "../listed-sectors.ts";
import type { SimDisk } from "../sim-disk.ts";

/** What must hold once nothing is broken, written or resynced any more. Returns what does not. */
export function judgeHealed(
  geometry: ArrayGeometry,
  disks: readonly SimDisk[],
  content: ContentModel,
): readonly string[] {
  const wrong: string[] = [];
  const legs = inSyncLegs(disks, geometry);
  if (legs.length === 0) return ["no member is in sync"];
  for (let sector = 0; sector < geometry.size; sector++) {
    let first: { readonly disk: SimDisk; readonly at: number } | null = null;
    const isContested = content.isContested(sector);
    let isListed = false;
    for (const { disk, raidDisk } of legs) {
      const at = geometry.sectorOn(raidDisk, sector);
      if (at === -1) continue;
      if (listedSectors(disk, geometry).now(at)) {
        isListed = true;
        continue;
      }
      first ??= { disk, at };
      if (isContested) {
        // Written by two nodes at once: each copy has one of the writes, perhaps not the same.
        const lost = content.judge(sector, disk.versions.words, at);
        if (lost !== null) wrong.push(`${disk.path}: ${lost}`);
        continue;
      }
      if (!first.disk.versions.equals(disk.versions, first.at, at)) {
        wrong.push(`sector ${sector} differs between ${first.disk.path} and ${disk.path}`);
      }
    }
    if (first === null && isListed) continue;
    if (isContested && first !== null) continue;
    const lost = first === null ? "it has no copy" : content.judge(sector, first.disk.versions.words, first.at);
    if (lost !== null) wrong.push(`${first?.disk.path ?? `sector ${sector}`}: ${lost}`);
  }
  const slots = slotsInUse(geometry, disks);
  for (const { disk: leg } of legs) {
    for (let slot = 0; slot < slots; slot++) {
      const dirty = dirtyChunks(geometry, leg, slot);
      if (dirty.length > 0) wrong.push(`${leg.path}: slot ${slot} still has chunks ${dirty.join(", ")}`);
    }
  }
  return wrong.slice(0, 10);
}

/** The bitmaps that the superblocks speak of: what lies elsewhere is left of others. */
function slotsInUse(geometry: ArrayGeometry, disks: readonly SimDisk[]): number {
  const newest = newestSuperblock(disks, geometry);
  if (newest === null || !hasFeature(newest, Feature.bitmapOffset)) return 0;
  return hasFeature(newest, Feature.clustered) ? geometry.slots : 1;
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
