import type { ArrayInfo, Mismatches } from "../../daemon/control-api.ts";
import { safeText } from "./safe-text.ts";

/** Ranges that are shown to people; JSON has them all. */
const SHOWN = 20;

/** What the last check or repair of this node found, a line a range; nothing if there was none. */
export function mismatchLines({
  name,
  sizeBytes,
  mismatch,
}: Pick<ArrayInfo, "name" | "sizeBytes" | "mismatch">): readonly string[] {
  const { lastAction, state, sectors, ranges, isCut, why, reachedBytes } = mismatch;
  if (lastAction === null || sectors === null) return [];
  const end =
    state === "finished"
      ? "finished"
      : `${state ?? "stopped"}${why === null ? "" : `: ${safeText(why)}`} (at ${reachedBytes ?? 0} bytes; --from=${reachedBytes ?? 0}B goes on)`;
  const equal = state === "finished" ? `all copies are equal${where(mismatch, sizeBytes)}` : untilNow(mismatch);
  const found = sectors === 0 ? equal : `mismatch_cnt ${sectors}, ${ranges.length}${isCut ? "+" : ""} ranges`;
  const shown = ranges
    .slice(0, SHOWN)
    .map(({ loBytes, hiBytes, reason }) => `  ${loBytes}-${hiBytes} B  ${safeText(reason)}`);
  const more = ranges.length > SHOWN ? [`  and ${ranges.length - SHOWN} more: --json`] : [];
  return [`${safeText(name)}: ${lastAction} ${end}, ${found}`, ...shown, ...more];
}

/** Of a part of the array. */
function where({ fromBytes, toBytes }: Mismatches, sizeBytes: number): string {
  const isAll = (fromBytes ?? 0) === 0 && (toBytes ?? sizeBytes) >= sizeBytes;
  return isAll ? "" : ` from ${fromBytes ?? 0} to ${toBytes ?? sizeBytes} bytes`;
}

const untilNow = ({ fromBytes, reachedBytes }: Mismatches): string =>
  `no difference ${(fromBytes ?? 0) === 0 ? "" : `from ${fromBytes} `}up to ${reachedBytes ?? 0} bytes`;
