import { MdError } from "../base/md-error.ts";
import type { ExportWish } from "./array-export.ts";

const frontends: readonly string[] = ["auto", "ublk", "nbd"] satisfies readonly ExportWish["frontend"][];

/** How an array is to be exported; by default however it can be. E_VALUE. */
export function frontendOf(word: string | null): ExportWish["frontend"] {
  if (word === null) return "auto";
  if (frontends.includes(word)) return word as ExportWish["frontend"];
  throw new MdError("E_VALUE", `frontend: "${word}" is not possible: auto, ublk and nbd are`);
}
