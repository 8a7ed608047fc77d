/** Seconds to add to UTC for the reader's clock at that moment. */
export const localOffset = (seconds: number): number => -new Date(seconds * 1000).getTimezoneOffset() * 60;

/** Local time of day of an RFC 3339 time, HH:MM:SS. */
export function localClock(time: string): string {
  const date = new Date(time);
  return [date.getHours(), date.getMinutes(), date.getSeconds()].map((part) => String(part).padStart(2, "0")).join(":");
}
