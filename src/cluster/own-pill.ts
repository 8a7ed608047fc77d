import { inSyncMembers, type MdArray } from "../array/md-array.ts";
import { type MemberDevices, readBytes } from "../array/write-members.ts";
import { MdError } from "../base/md-error.ts";
import { PillCheck, type PillReader, type PillVerdict } from "../fencing/pill-check.ts";
import { TAKEOVER_BLOCK_BYTES } from "../fencing/takeover-blocks.ts";
import { pillAt, takeoverLayout } from "../fencing/takeover-layout.ts";

export interface OwnPill {
  readonly verdict: PillVerdict;
  /** The member that says so. */
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
  const found = await Promise.all(
    inSyncMembers(array).map(async (member): Promise<OwnPill> => {
      const layout = takeoverLayout(array, member);
      const device = devices.get(member.number);
      if (layout === null || device === undefined) return { verdict: "unknown", path: "" };
      try {
        const block = await readBytes(device, pillAt(layout, slot), TAKEOVER_BLOCK_BYTES);
        return { verdict: check.verdict(block, 0), path: device.path };
      } catch (error) {
        if (!(error instanceof MdError)) throw error;
        return { verdict: "unknown", path: device.path };
      }
    }),
  );
  const said = (verdict: PillVerdict): OwnPill | undefined => found.find((one) => one.verdict === verdict);
  return said("condemned") ?? said("clear") ?? { verdict: "unknown", path: "" };
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
