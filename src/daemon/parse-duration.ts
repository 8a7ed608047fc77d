import { MdError } from "../base/md-error.ts";

const units: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** `500ms`, `5s`, `2m`, `1h`; a bare number is seconds. Milliseconds. E_VALUE. */
export function parseDuration(option: string, text: string): number {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h|)$/.exec(text);
  const ms = Number(match?.[1]) * (units[match?.[2] || "s"] ?? 1000);
  if (match === null || !Number.isFinite(ms)) {
    throw new MdError("E_VALUE", `${option}: "${text}" is not a duration`, { hint: `--${option}=10s` });
  }
  return Math.round(ms);
}
