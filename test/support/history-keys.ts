import type { Disk, World } from "./histories.ts";

/** Equal for what nobody who reads these disks can tell apart. */
export function seenAs(disks: readonly Disk[], visible: readonly number[]): string {
  const least = Math.min(...visible.map((disk) => disks[disk]?.superblock.events || Number.POSITIVE_INFINITY));
  return visible
    .map((disk) => {
      const superblock = disks[disk]?.superblock;
      if (superblock === undefined) return "";
      const { devNumber, events, devRoles, featureMap, recoveryOffset } = superblock;
      return [
        disk,
        devNumber,
        events === 0 ? "new" : events - least,
        devRoles.join(","),
        featureMap,
        recoveryOffset,
      ].join(" ");
    })
    .join("|");
}

/** Equal for worlds with the same future. */
export function keyOf(world: World): string {
  const { disks, running } = world;
  const all = disks.map((_, disk) => disk);
  const least = Math.min(...disks.map(({ superblock }) => superblock.events || Number.POSITIVE_INFINITY));
  const strings = [...disks.flatMap(({ data, base }) => [data, base]), running?.data ?? null, running?.base ?? null];
  const relations = strings.map((one) =>
    strings
      .map((other) => (one === null || other === null ? "-" : one === other ? "=" : other.startsWith(one) ? "<" : "x"))
      .join(""),
  );
  const members = running?.array.members.map(({ number, state, raidDisk, isReplacement }) =>
    [number, state, raidDisk, isReplacement].join(" "),
  );
  return [
    seenAs(disks, all),
    relations.join(),
    disks.map(({ cleared }) => cleared - least).join(),
    members?.join() ?? "",
    running?.array.faultyElsewhere.join() ?? "",
    running === null ? "" : `${running.cleared - least} ${running.array.events - least}`,
  ].join("/");
}
