/** `5 min 20 s`, `8 h 3 min`, `42 s`. */
export function durationText(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

/** ` (4-7 min)`: the range in whole units of the larger bound; empty where both ends look alike. */
export function rangeText(low: number, high: number): string {
  const [unit, name] = high >= 3600 ? [3600, "h"] : high >= 60 ? [60, "min"] : [1, "s"];
  const from = Math.floor(low / unit);
  const to = Math.ceil(high / unit);
  return from === to ? "" : ` (${from}-${to} ${name})`;
}

/** `0.9 s`, `12 s`, `3 min`, `2 h`, `5 d`: how long something stands as it does; `-` where it is not known. */
export function ageText(seconds: number | null): string {
  if (seconds === null) return "-";
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  return seconds < 48 * 3600 ? `${Math.floor(seconds / 3600)} h` : `${Math.floor(seconds / 86_400)} d`;
}
