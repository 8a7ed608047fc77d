import { isLastCopy } from "../array/array-state.ts";
import { newBadBlockLog } from "../array/bad-block-place.ts";
import { blankBadBlocks } from "../array/bad-block-store.ts";
import { isClustered, type MdArray, replaceMember } from "../array/md-array.ts";
import type { Member } from "../array/member.ts";
import { writeSuperblocks } from "../array/superblock-store.ts";
import type { MemberDevices } from "../array/write-members.ts";
import { MdError } from "../base/md-error.ts";
import { sector } from "../base/units.ts";
import { takeoverLayout } from "../fencing/takeover-layout.ts";

/** bbl: members get a log that have none. no-bbl: logs go, which must be empty. force-no-bbl: also such as list something. */
export type BadBlockUpdate = "bbl" | "no-bbl" | "force-no-bbl";

/**
 * The array with other bad-block logs (mdadm's `--update`), durably, for the one node that uses it, before it does. E_VALUE if it is clustered, a log is not empty, or takeover records would have to move:
 * who was taken over looks for them where they are.
 */
export async function updateBadBlockLogs(
  array: MdArray,
  devices: MemberDevices,
  how: BadBlockUpdate,
): Promise<MdArray> {
  if (isClustered(array)) throw new MdError("E_VALUE", `"${array.name}" is clustered: it has no bad-block logs`);
  const next = how === "bbl" ? withLogs(array) : withoutLogs(array, how);
  for (const member of next.members) {
    const before = array.members.find(({ number }) => number === member.number);
    if (before !== undefined) checkRecords(array, before, next, member);
    const device = devices.get(member.number);
    if (before?.badBlockLog === null && device !== undefined) await blankBadBlocks(device, member);
  }
  // Under the number that they have: each says by itself what its log is, and whether it is a copy.
  const [failure] = await writeSuperblocks(next, devices);
  if (failure !== undefined) throw failure.error;
  return next;
}

function withLogs(array: MdArray): MdArray {
  const members = array.members.map((member): Member => {
    if (member.badBlockLog !== null) return member;
    const badBlockLog = newBadBlockLog(array, member);
    if (badBlockLog === null) {
      throw new MdError("E_VALUE", `member ${member.number} of "${array.name}" has no room for a bad-block log`);
    }
    return { ...member, badBlockLog };
  });
  return { ...array, members };
}

/**
 * What a log listed nobody knows any more without it. A member that others can stand in for is filled anew; but of two
 * that lack something each would be filled from what the other lacks.
 */
function withoutLogs(array: MdArray, how: "no-bbl" | "force-no-bbl"): MdArray {
  const marked = array.members.filter(({ badBlockLog }) => (badBlockLog?.entries.length ?? 0) > 0);
  const [first] = marked;
  if (first !== undefined && (how === "no-bbl" || marked.length > 1)) {
    const numbers = marked.map(({ number }) => number).join(", ");
    throw new MdError("E_VALUE", `"${array.name}": the bad-block log of member ${numbers} is not empty`, {
      hint: "write what was lost: mdctl scrub --repair=source=MEMBER; or replace the member",
    });
  }
  const members = array.members.map((member): Member => ({ ...member, badBlockLog: null }));
  const bare = { ...array, members };
  if (first === undefined || first.state !== "in_sync" || isLastCopy(array, first.number)) return bare;
  const filled: Member = { ...first, badBlockLog: null, state: "rebuilding", recoveredTo: sector(0), byBitmap: false };
  return replaceMember(bare, filled);
}

function checkRecords(before: MdArray, was: Member, after: MdArray, is: Member): void {
  const records = takeoverLayout(before, was);
  if (records === null || records.epochAt === takeoverLayout(after, is)?.epochAt) return;
  throw new MdError("E_VALUE", `"${before.name}": the takeover records of member ${is.number} would have to move`, {
    why: "a node that was taken over looks for them where they are",
  });
}
