import { MdError } from "../base/md-error.ts";
import {
  copiesOf,
  decodeRaid10Layout,
  isNear,
  keepsCopiesApart,
  raid10LayoutName,
} from "../superblock/raid10-layout.ts";

/**
 * E_LAYOUT_UNSUPPORTED for a layout word by which a RAID10 of so many raid_disks has no copies that can be relied on.
 * `whose`: what the message begins with.
 */
export function mustKeepCopies(layout: number, raidDisks: number, whose = ""): void {
  const decoded = decodeRaid10Layout(layout);
  const name = `${whose}layout ${raid10LayoutName(layout)}`;
  if (copiesOf(decoded) < 2) throw new MdError("E_LAYOUT_UNSUPPORTED", `${name} keeps no second copy; n2 does`);
  if (keepsCopiesApart(decoded, raidDisks)) return;
  throw new MdError("E_LAYOUT_UNSUPPORTED", `${name} puts two copies in one place on ${raidDisks} members`);
}

/** E_LAYOUT_UNSUPPORTED for a RAID10 that several nodes cannot share (md-cluster, 22). */
export function mustBeNear(
  layout: number,
  { whose = "", hint }: { readonly whose?: string; readonly hint: string },
): void {
  if (isNear(decodeRaid10Layout(layout))) return;
  const name = `${whose}layout ${raid10LayoutName(layout)}`;
  const text = `${name} is not possible with a clustered bitmap; near layouts (n2, n3) are`;
  const why = "md shares arrays with near copies only, and members are to be readable by md";
  throw new MdError("E_LAYOUT_UNSUPPORTED", text, { why, hint });
}
