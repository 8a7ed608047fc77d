import type { ArrayInfo } from "../../daemon/control-api.ts";
import { bar, percentText, shortDuration } from "../text.ts";

const MIB = 1024 * 1024;
const GIB = 1024 * MIB;

export function syncTitle({ name, sync }: ArrayInfo): string {
  const where = sync.node === null ? "" : ` on ${sync.node}`;
  return `${name} ${sync.action}${where}${sync.why === null ? "" : `, reason: ${sync.why}`}`;
}

/** Bar, percent, time left; amounts and speed; the suspended range. Nothing is shown that is not known. */
export function syncRows({ sync, suspended }: ArrayInfo, width: number): string[] {
  const barWidth = Math.max(10, width - 38);
  const rows: string[] = [];
  if (sync.percent === null)
    rows.push(` ${sync.status}${sync.waitingFor === null ? "" : `, waits for ${sync.waitingFor}`}`);
  else rows.push(` ${bar(sync.percent, barWidth)}  ${percentText(sync.percent)}   ${etaText(sync)}`);
  const amounts = [
    sync.doneBytes === null || sync.totalBytes === null ? null : amountText(sync.doneBytes, sync.totalBytes),
    sync.speedBytesPerSecond === null ? null : `${(sync.speedBytesPerSecond / MIB).toFixed(1)} MiB/s`,
    sync.dirtyBytesLeft === null ? null : `${amount(sync.dirtyBytesLeft)} left to copy`,
  ].filter((part) => part !== null);
  rows.push(` ${amounts.join("   ")}`);
  for (const range of suspended) {
    rows.push(
      ` suspended ${amount(range.loBytes)} to ${amount(range.hiBytes)}${range.byNode === null ? "" : ` by ${range.byNode}`}`,
    );
  }
  return rows;
}

function etaText({ etaSeconds, etaLowSeconds, etaHighSeconds }: ArrayInfo["sync"]): string {
  if (etaSeconds === null) return "";
  if (etaLowSeconds === null || etaHighSeconds === null) return `${shortDuration(etaSeconds)} left`;
  return `${shortDuration(etaSeconds)} left (${shortDuration(etaLowSeconds)}-${shortDuration(etaHighSeconds)})`;
}

const amount = (bytes: number): string =>
  bytes >= GIB ? `${(bytes / GIB).toFixed(2)} GiB` : `${(bytes / MIB).toFixed(1)} MiB`;

const amountText = (done: number, total: number): string =>
  total >= GIB
    ? `${(done / GIB).toFixed(1)} of ${(total / GIB).toFixed(1)} GiB`
    : `${(done / MIB).toFixed(1)} of ${(total / MIB).toFixed(1)} MiB`;
