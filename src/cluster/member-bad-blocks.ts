import type { Member } from "../array/member.ts";
import { sectorRange } from "../base/units.ts";
import type { MemberBadBlocks } from "../engine/engine-protocol.ts";
import { logRoom, longestEntry } from "../superblock/bad-block-log.ts";

/** As the data plane wants it, of a member that comes in; null: it has no log. `takesWriteErrors`: see `MemberBadBlocks`. */
export function badBlocksFor({ badBlockLog, dataOffset }: Member, takesWriteErrors: boolean): MemberBadBlocks | null {
  if (badBlockLog === null) return null;
  const { entries, shift, sectors } = badBlockLog;
  const ranges = entries
    .map(({ at, sectors: length }) => sectorRange(Math.max(0, at - dataOffset), at + length - dataOffset))
    .filter(({ lo, hi }) => lo < hi);
  return { ranges, unit: 2 ** shift, room: logRoom(sectors), longest: longestEntry(shift), takesWriteErrors };
}
