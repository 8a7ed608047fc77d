import { copyGroupsOf, decodeRaid10Layout } from "../superblock/raid10-layout.ts";

/** What decides which members hold copies of the same data. */
export interface GroupShape {
  readonly level: number;
  readonly layout: number;
  readonly raidDisks: number;
}

/**
 * Which raid_disks hold the copies of the same data: every array sector's copies are on one of these groups, and each
 * group has some sector. RAID1: all raid_disks are one group. RAID10: as many groups as there are first copies.
 */
export class CopyGroups {
  readonly groups: readonly (readonly number[])[];

  constructor({ level, layout, raidDisks }: GroupShape) {
    this.groups = groupsOf(level, layout, raidDisks);
  }

  /** Does every sector have a copy on the raid_disks with `alive[i] !== 0`? */
  survives(alive: ArrayLike<number>): boolean {
    for (const group of this.groups) if (!hasAlive(group, alive, -1)) return false;
    return true;
  }

  /** Has some sector its only copy of those alive on `raidDisk`? Whether it is alive itself does not matter. */
  isLastCopy(raidDisk: number, alive: ArrayLike<number>): boolean {
    for (const group of this.groups) if (group.includes(raidDisk) && !hasAlive(group, alive, raidDisk)) return true;
    return false;
  }
}

/** Asked for every flush: no closures. */
function hasAlive(group: readonly number[], alive: ArrayLike<number>, but: number): boolean {
  for (const disk of group) if (disk !== but && (alive[disk] ?? 0) !== 0) return true;
  return false;
}

function groupsOf(level: number, layout: number, raidDisks: number): readonly (readonly number[])[] {
  const all = Array.from({ length: raidDisks }, (_, disk) => disk);
  if (level === 1) return [all];
  // Without redundancy each member is the only one to have what it has.
  if (level !== 10) return all.map((disk) => [disk]);
  return copyGroupsOf(decodeRaid10Layout(layout), raidDisks);
}
