import { MdError } from "../base/md-error.ts";
import { maxSlots } from "../bitmap/bitmap-layout.ts";
import { bitmapLimit } from "./bad-block-place.ts";
import { checkSlots } from "./create-array.ts";
import { type ArrayBitmap, type BitmapKind, type MdArray, writableMembers } from "./md-array.ts";
import { mustBeNear } from "./raid10-limits.ts";

export interface BitmapWish {
  readonly kind: BitmapKind;
  /** Of a clustered one. */
  readonly slots: number;
  readonly clusterName: string;
}

/**
 * The bitmap that the array would have, in the chunks that it has now. E_VALUE when there is no room for it;
 * E_LAYOUT_UNSUPPORTED.
 */
export function bitmapFor(array: MdArray, { kind, slots, clusterName }: BitmapWish): ArrayBitmap {
  const { layout, offset, daemonSleep } = array.bitmap;
  const common = { layout, offset, daemonSleep };
  if (kind === "none") return { ...common, kind, slots: 0, clusterName: "" };
  if (kind === "clustered" && slots < 2) {
    throw new MdError("E_VALUE", `a clustered array needs at least 2 nodes, got ${slots}`);
  }
  if (kind === "clustered" && array.level === 10) {
    mustBeNear(array.layout, { whose: `"${array.name}": `, hint: "create another array with --layout=n2, and copy" });
  }
  if (kind === "clustered") checkNoBadBlocks(array);
  const most = mostSlots(array, kind);
  if (most < 1) throw new MdError("E_VALUE", `"${array.name}" has no room for a bitmap before its data`);
  if (kind === "internal") return { ...common, kind, slots: 1, clusterName: "" };
  checkSlots(slots, most);
  return { ...common, kind, slots, clusterName };
}

/** How many slots fit on every member; a clustered array has no bad-block log in the way. */
const mostSlots = (array: MdArray, kind: BitmapKind): number => {
  const { layout } = array.bitmap;
  const rooms = writableMembers(array).map((member) => {
    const end = bitmapLimit({ bitmap: { ...array.bitmap, kind } }, member);
    return maxSlots(layout, member.superOffset, end);
  });
  return Math.min(...rooms);
};

function checkNoBadBlocks(array: MdArray): void {
  const marked = array.members.find(({ badBlockLog }) => (badBlockLog?.entries.length ?? 0) > 0);
  if (marked === undefined) return;
  throw new MdError("E_VALUE", `"${array.name}" cannot be clustered: member ${marked.number} has bad blocks recorded`, {
    why: "clustered arrays have no bad-block log",
    hint: "replace the member, or write to what it lost: mdctl scrub --repair=source=MEMBER",
  });
}
