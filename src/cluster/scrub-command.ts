import { inSyncMembers } from "../array/md-array.ts";
import { MdError } from "../base/md-error.ts";
import { type Sector, sector } from "../base/units.ts";
import { CHECK_SECTORS } from "../engine/engine-protocol.ts";
import { personalityOf } from "../engine/personalities.ts";
import { mismatchesLeft, type ScrubAction } from "../resync/scrub.ts";
import { memberText, type NodeContext, shortName } from "./node-context.ts";

export interface ScrubRequest {
  readonly action: ScrubAction;
  /** Array sectors; null: from the beginning, to the end. */
  readonly from: Sector | null;
  readonly to: Sector | null;
  /** The member (descriptor number) whose copy is right; null: the majority of three or more. */
  readonly source: number | null;
}

/**
 * Checks what was asked for and takes it on; the runner begins when nothing is to be resynced or filled. Ranges are widened
 * to whole requests of 64 KiB. E_SYNC_RUNNING: one is under way. E_CONFIRM: nobody can tell which copy is right.
 */
export function orderScrub(context: NodeContext, { action, from, to, source }: ScrubRequest): void {
  const { array, env, scrub, safeMode, history } = context;
  const name = shortName(context);
  if (safeMode.access !== "read-write") {
    throw new MdError("E_PERMISSION", `${name} is ${safeMode.access} here: it cannot be compared`, {
      hint: `mdctl readwrite ${name}`,
    });
  }
  const lo = Math.floor((from ?? 0) / CHECK_SECTORS) * CHECK_SECTORS;
  const hi = Math.min(Math.ceil((to ?? array.size) / CHECK_SECTORS) * CHECK_SECTORS, array.size);
  if (lo >= hi) throw new MdError("E_VALUE", `there is nothing to ${action} from ${from ?? 0} to ${to ?? array.size}`);
  const copies = Math.min(personalityOf(array).copies, inSyncMembers(array).length);
  if (copies < 2) {
    throw new MdError("E_VALUE", `${name} has no second copy that is in sync: there is nothing to compare`, {
      hint: `mdctl detail ${name}`,
    });
  }
  if (action === "repair" && source === null && copies < 3) {
    throw new MdError("E_CONFIRM", `cannot tell which copy of ${name} is right: it has ${copies} and no checksums`, {
      hint: `mdctl action ${name} repair --source=MEMBER`,
    });
  }
  if (source !== null && !inSyncMembers(array).some(({ number }) => number === source)) {
    throw new MdError("E_MEMBER_NOT_FOUND", `${memberText(context, source)} is not in sync: it is no source`);
  }
  scrub.begin({ action, from: sector(lo), to: sector(hi), source }, env.clock.now(), env.clock.wall());
  const by = action === "check" ? "" : source === null ? " by majority" : ` from ${memberText(context, source)}`;
  history.add("info", action.toUpperCase(), `${action} of [${lo}, ${hi})${by} begins`, { action, lo, hi, source });
  context.lookForWork();
}

/** It is over; `why` says what ended it before its end. */
export function endScrub({ scrub, history, env }: NodeContext, why: string | null): void {
  if (scrub.current === null) return;
  scrub.end(why, env.clock.wall());
  const { report } = scrub;
  if (report === null) return;
  const { action, reached, from, to, mismatched, ranges, isCut } = report;
  const equal = why === null ? `all copies are equal in [${from}, ${to})` : `no difference up to ${reached}`;
  const found = mismatched === 0 ? equal : `${mismatched} sectors in requests that differed`;
  const text = why === null ? `${action} finished: ${found}` : `${action} stopped at ${reached}: ${why}; ${found}`;
  const fields = { action, outcome: report.state, from, to, reached, mismatched, ranges, isCut };
  history.add(mismatchesLeft(report) ? "warn" : "info", action.toUpperCase(), text, fields);
}
