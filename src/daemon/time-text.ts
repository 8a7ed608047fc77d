/** RFC 3339, UTC, milliseconds. `epochMs` comes from a clock of the caller's. */
export function timeText(epochMs: number): string {
  // biome-ignore lint/style/noRestrictedGlobals: formats a time that is given, reads no clock
  return new Date(epochMs).toISOString();
}
