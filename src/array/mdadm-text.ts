/** How mdadm writes numbers and times. */

const KIB = 1024n;
const MIB = KIB * KIB;
const GIB = MIB * KIB;
const TIB = GIB * KIB;

/** ` (63.00 MiB 66.06 MB)`, with its leading blank; empty below 5000 KiB. */
export function humanSize(bytes: bigint): string {
  if (bytes < 5000n * KIB) return "";
  if (bytes < 2n * GIB) return bothUnits(bytes, MIB, "MiB", 1_000_000n, "MB");
  if (bytes < 2n * TIB) return bothUnits(bytes, GIB, "GiB", 1_000_000_000n, "GB");
  return bothUnits(bytes, TIB, "TiB", 1_000_000_000_000n, "TB");
}

function bothUnits(bytes: bigint, binary: bigint, binaryName: string, decimal: bigint, decimalName: string): string {
  // Twice the hundredths, plus one, halved: rounded. The decimal divisor is rounded down first, as there.
  const binaryHundredths = ((bytes * 200n) / binary + 1n) / 2n;
  const decimalHundredths = (bytes / (decimal / 200n) + 1n) / 2n;
  return ` (${hundredths(binaryHundredths)} ${binaryName} ${hundredths(decimalHundredths)} ${decimalName})`;
}

const hundredths = (value: bigint): string => `${value / 100n}.${String(value % 100n).padStart(2, "0")}`;

/** `64 KB`, `64 MB`. */
export function humanChunk(bytes: number): string {
  const suffixes = ["bytes", "KB", "MB", "GB"];
  let value = bytes;
  let step = 0;
  while (value >= 1024 && step < suffixes.length - 1) {
    value /= 1024;
    step++;
  }
  return `${Math.floor(value)} ${suffixes[step]}`;
}

/** One decimal as C's printf rounds: ties go to the even digit. */
export function percent(part: number, whole: number): string {
  const tenths = (1000 * part) / (whole === 0 ? 1 : whole);
  const below = Math.floor(tenths);
  const isTie = tenths - below === 0.5;
  const rounded = isTie ? below + (below % 2) : Math.round(tenths);
  return `${Math.floor(rounded / 10)}.${rounded % 10}`;
}

const days = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/** `Sat Nov 21 03:22:32 2026`. `seconds` since 1970 are of the zone that is wanted: UTC plus its offset. */
export function timeText(seconds: number): string {
  const day = Math.floor(seconds / 86_400);
  const ofDay = seconds - day * 86_400;
  const two = (value: number): string => String(value).padStart(2, "0");
  const { year, month, date } = civilDate(day);
  const clock = [ofDay / 3600, (ofDay / 60) % 60, ofDay % 60].map((part) => two(Math.floor(part))).join(":");
  return `${days[((day % 7) + 7) % 7]} ${months[month]} ${String(date).padStart(2)} ${clock} ${year}`;
}

/** Of a count of days since 1970-01-01; months from 0. Years begin in March, so that leap days come last. */
function civilDate(day: number): { year: number; month: number; date: number } {
  const shifted = day + 719_468;
  const era = Math.floor(shifted / 146_097);
  const ofEra = shifted - era * 146_097;
  const yearOfEra = Math.floor(
    (ofEra - Math.floor(ofEra / 1460) + Math.floor(ofEra / 36_524) - Math.floor(ofEra / 146_096)) / 365,
  );
  const ofYear = ofEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100));
  const fromMarch = Math.floor((5 * ofYear + 2) / 153);
  const date = ofYear - Math.floor((153 * fromMarch + 2) / 5) + 1;
  const month = (fromMarch + 2) % 12;
  return { year: yearOfEra + era * 400 + (month < 2 ? 1 : 0), month, date };
}

/** Names come from disk: nothing in them may act on a terminal. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is replaced
export const printable = (text: string): string => text.replace(/[\u0000-\u001f\u007f-\u009f]/g, "?");

export const levelNames: ReadonlyMap<number, string> = new Map([
  [-4, "multipath"],
  [-1, "linear"],
  [0, "raid0"],
  [1, "raid1"],
  [4, "raid4"],
  [5, "raid5"],
  [6, "raid6"],
  [10, "raid10"],
]);
