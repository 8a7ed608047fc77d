import type { Examination } from "../../array/examine.ts";
import { BITMAP_STALE } from "../../bitmap/bitmap-super.ts";
import { Feature, hasFeature, IN_SYNC, isActiveRole, ROLE_FAULTY, roleOf } from "../../superblock/superblock.ts";
import { mdUuidText } from "../../superblock/uuid.ts";

const SECTOR = 512;

/** What `examine --json` says of a member. Sentinels of the disk are translated: unknown or none is null. */
export function examinationData(examination: Examination): Record<string, unknown> {
  const { path, superblock, deviceSize, clean, bitmapError } = examination;
  const role = roleOf(superblock, superblock.devNumber);
  const active = isActiveRole(role);
  return {
    path,
    deviceBytes: deviceSize * SECTOR,
    metadata: `1.${superblock.minor}`,
    arrayUuid: mdUuidText(superblock.setUuid),
    name: superblock.setName,
    deviceUuid: mdUuidText(superblock.deviceUuid),
    level: `raid${superblock.level}`,
    raidDevices: superblock.raidDisks,
    usedDevBytes: superblock.size * SECTOR,
    dataOffsetBytes: superblock.dataOffset * SECTOR,
    dataBytes: superblock.dataSize * SECTOR,
    superOffsetBytes: superblock.superOffset * SECTOR,
    createdAt: new Date(superblock.ctime.seconds * 1000).toISOString(),
    updatedAt: new Date(superblock.utime.seconds * 1000).toISOString(),
    events: superblock.events,
    clustered: hasFeature(superblock, Feature.clustered),
    number: superblock.devNumber,
    slot: active ? role : null,
    role: active ? "active" : role === ROLE_FAULTY ? "faulty" : "spare",
    resyncOffsetBytes: superblock.resyncOffset === IN_SYNC ? null : Number(superblock.resyncOffset) * SECTOR,
    recoveryOffsetBytes: hasFeature(superblock, Feature.recoveryOffset)
      ? Number(superblock.recoveryOffset) * SECTOR
      : null,
    clean,
    bitmap: bitmapData(examination),
    bitmapError: bitmapError?.message ?? null,
  };
}

/** What `examine-bitmap --json` says. */
export function bitmapData({ bitmap }: Examination): Record<string, unknown> | null {
  if (bitmap === null) return null;
  const { super: shared, layout, slots, unionDirty } = bitmap;
  return {
    version: shared.version,
    chunkBytes: shared.chunkBytes,
    flushSeconds: shared.daemonSleep,
    syncBytes: shared.syncSize * SECTOR,
    nodes: shared.nodes,
    clusterName: shared.clusterName,
    slots: slots.map((slot, number) => ({
      slot: number,
      events: slot.super.events,
      eventsCleared: slot.super.eventsCleared,
      state: (slot.super.state & BITMAP_STALE) === 0 ? "ok" : "stale",
      bits: layout.chunks,
      dirty: slot.dirty,
    })),
    unionDirty,
  };
}
