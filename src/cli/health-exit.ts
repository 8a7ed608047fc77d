import type { ArrayInfo, Health } from "../daemon/control-api.ts";

const exits: Record<Health, number> = { optimal: 0, degraded: 1, failed: 2, unknown: 4 };
const worstFirst: readonly Health[] = ["failed", "unknown", "degraded", "optimal"];

/** `--test`: 0 fine, 1 degraded, 2 failed, 4 unknown, as mdadm; the worst of all arrays. Slots count, not faulty members. */
export function healthExit(arrays: readonly Pick<ArrayInfo, "health" | "degradedBy">[]): number {
  const states = arrays.map(({ health, degradedBy }) => (health === "optimal" && degradedBy > 0 ? "degraded" : health));
  return exits[worstFirst.find((health) => states.includes(health)) ?? "optimal"];
}
