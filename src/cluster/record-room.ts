import type { MdArray } from "../array/md-array.ts";
import { MdError } from "../base/md-error.ts";
import { hasTakeoverRoom } from "../fencing/takeover-store.ts";

/** E_VALUE when bitmaps would take the place of takeover records that there was room for. */
export function checkRecordRoom(before: MdArray, after: MdArray): void {
  if (!hasTakeoverRoom(before) || hasTakeoverRoom(after)) return;
  let most = after.bitmap.slots;
  while (most > 1 && !hasTakeoverRoom({ ...after, bitmap: { ...after.bitmap, slots: most } })) most--;
  throw new MdError(
    "E_VALUE",
    `there is no room for ${after.bitmap.slots} nodes: the maximum number of nodes is ${most}`,
    {
      why: "beside its bitmap each has a place for what is known of its takeover",
    },
  );
}
