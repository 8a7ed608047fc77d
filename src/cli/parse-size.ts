import { MdError } from "../base/md-error.ts";

const KIB = 1024;
const factors: Readonly<Record<string, number>> = { K: KIB, M: KIB ** 2, G: KIB ** 3, T: KIB ** 4 };

/** A size of an option that mdadm has: a bare number is KiB; K, M, G, T are powers of 1024. Bytes. E_VALUE. */
export function parseSize(option: string, text: string): number {
  const match = /^(\d+(?:\.\d+)?)([KMGTkmgt]?)$/.exec(text);
  const unit = match?.[2]?.toUpperCase() ?? "";
  const bytes = Number(match?.[1]) * (factors[unit === "" ? "K" : unit] ?? KIB);
  if (match === null || !Number.isSafeInteger(bytes) || bytes <= 0) {
    throw new MdError("E_VALUE", `${option}: "${text}" is not a size`, { hint: `--${option}=64M` });
  }
  return bytes;
}

/** Bytes per second, of an option that mdadm has not: the unit must be given. E_VALUE. */
export function parseRate(option: string, text: string): number {
  if (/^\d+$/.test(text)) {
    throw new MdError("E_VALUE", `${option}: "${text}" has no unit`, { hint: `--${option}=${text}K` });
  }
  return parseSize(option, text);
}

/** A place in an array, of an option that mdadm has not: the unit (B too) must be given, but for 0. Bytes. E_VALUE. */
export function parsePosition(option: string, text: string): number {
  if (text === "0") return 0;
  const bytes = /^\d+B$/i.test(text) ? Number(text.slice(0, -1)) : parseRate(option, text);
  if (bytes % 512 !== 0) throw new MdError("E_VALUE", `${option}: ${bytes} bytes is not a multiple of 512`);
  return bytes;
}

/** An integer from `least` to `most`. E_VALUE. */
export function parseCount(option: string, text: string, least: number, most: number): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || value < least || value > most) {
    throw new MdError("E_VALUE", `${option}: "${text}" is not a whole number from ${least} to ${most}`);
  }
  return value;
}
