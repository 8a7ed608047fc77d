import { inSyncMembers, type MdArray } from "../array/md-array.ts";
import { type MemberDevices, readBytes } from "../array/write-members.ts";
import { MdError } from "../base/md-error.ts";
import { PillCheck, type PillReader, type PillVerdict } from "../fencing/pill-check.ts";
import { TAKEOVER_BLOCK_BYTES } from "../fencing/takeover-blocks.ts";
import { pillAt, takeoverLayout } from "../fencing/takeover-layout.ts";

export interface OwnPill {
  readonly verdict: PillVerdict;
  /** The member that says that we were taken over. */
  readonly path: string;
}

/**
 * What the in-sync members say of us. One that says that we were taken over is enough; clear: some member says so, and none
 * the contrary; unknown: none of them can be read, or what they say makes no sense.
 */
export async function readOwnPill(
  { array, devices }: { readonly array: MdArray; readonly devices: MemberDevices },
  { slot }: PillReader,
  check: PillCheck,
): Promise<OwnPill> {
  let verdict: PillVerdict = "unknown";
  for (const member of inSyncMembers(array)) {
    const layout = takeoverLayout(array, member);
    const device = devices.get(member.number);
    if (layout === null || device === undefined) continue;
    try {
      const block = await readBytes(device, pillAt(layout, slot), TAKEOVER_BLOCK_BYTES);
      const said = check.verdict(block, 0);
      if (said === "condemned") return { verdict: said, path: device.path };
      if (said === "clear") verdict = "clear";
    } catch (error) {
      if (!(error instanceof MdError)) throw error;
    }
  }
  return { verdict, path: "" };
}

/** Asks the members whether the slot is ours still; `onTakenOver` hears of one that says that it is not. */
export function slotCheck(
  pill: PillReader,
  members: { now(): { readonly array: MdArray; readonly devices: MemberDevices } },
  onTakenOver: (path: string) => void,
): () => Promise<boolean> {
  const check = new PillCheck(pill);
  return async () => {
    const { verdict, path } = await readOwnPill(members.now(), pill, check);
    if (verdict === "condemned") onTakenOver(path);
    return verdict !== "condemned";
  };
}
