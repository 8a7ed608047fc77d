import type { ModeNumber } from "./lock-call.ts";

/** R: from the resource to the caller. W: from the caller to the resource. */
export type LvbTransfer = "R" | "W" | "-";

/** Row: granted mode, the first for a new request. Column: NL CR CW PR PW EX asked for. (fs/dlm, dlm_lvb_operations) */
const table = ["RRRRRR", "RRRRRR", "-RRRRR", "--RRRR", "---RRR", "WWWWWR", "WWWWWW"];

export const lvbTransfer = (granted: ModeNumber, requested: ModeNumber): LvbTransfer =>
  (table[granted + 1]?.[requested] ?? "-") as LvbTransfer;
