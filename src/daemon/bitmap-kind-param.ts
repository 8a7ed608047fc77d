import type { BitmapKind } from "../array/md-array.ts";
import { MdError } from "../base/md-error.ts";

const kinds: readonly string[] = ["none", "internal", "clustered"] satisfies readonly BitmapKind[];

/** E_VALUE for what is no kind of bitmap; mdadm took a path there once. */
export function bitmapKind(word: string | null): BitmapKind | null {
  if (word === null || kinds.includes(word)) return word as BitmapKind | null;
  throw new MdError("E_VALUE", `bitmap: "${word}" is not possible: none, internal and clustered are`);
}
