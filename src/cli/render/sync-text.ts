import type { ArrayInfo, Sync } from "../../daemon/control-api.ts";
import { durationText, rangeText } from "./duration-text.ts";

/** One decimal, cut: only what is finished shows 100.0%. */
export const percentText = (percent: number): string => `${(Math.floor(percent * 10 + 1e-9) / 10).toFixed(1)}%`;

/** `resync 37.5%, 5 min 20 s left (4-7 min), 195.3 MiB/s`, or `resync delayed by n2 (waits for the resync lock)`. */
export function syncText(sync: Sync): string {
  if (sync.status === "none") return "idle";
  if (sync.percent === null) {
    const how = sync.status === "remote" ? "on" : "by";
    const where = sync.node === null ? "" : ` ${how} ${sync.node}`;
    return `${sync.action} ${sync.status}${where}${sync.waitingFor === null ? "" : ` (waits for the ${sync.waitingFor})`}`;
  }
  const parts = [`${sync.action} ${percentText(sync.percent)}`];
  const eta = etaText(sync);
  if (eta !== "") parts.push(eta);
  if (sync.speedBytesPerSecond !== null) parts.push(`${(sync.speedBytesPerSecond / 1024 ** 2).toFixed(1)} MiB/s`);
  return parts.join(", ");
}

/** `5 min 20 s left (4-7 min)`; empty when it cannot be told. */
export function etaText({ etaSeconds, etaLowSeconds, etaHighSeconds }: Sync): string {
  if (etaSeconds === null) return "";
  const range = etaLowSeconds === null || etaHighSeconds === null ? "" : rangeText(etaLowSeconds, etaHighSeconds);
  return `${durationText(etaSeconds)} left${range}`;
}

/** `[U_]`: one letter a raid device. */
export function memberLetters({ raidDevices, members }: Pick<ArrayInfo, "raidDevices" | "members">): string {
  const good = new Set(members.filter(({ inSync }) => inSync).map(({ slot }) => slot));
  return `[${Array.from({ length: raidDevices }, (_, slot) => (good.has(slot) ? "U" : "_")).join("")}]`;
}
