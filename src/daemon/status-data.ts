import type { Advice, ArrayInfo, ClusterSummary, FrozenInfo, NodeInfo, Verdict } from "./control-api.ts";
import type { LostArray } from "./daemon.ts";

/** The worst word that holds of any part: what is wrong, or what goes on. */
export function verdictOf(
  arrays: readonly ArrayInfo[],
  nodes: readonly NodeInfo[],
  frozen: FrozenInfo | null,
  lostArrays: readonly LostArray[],
): Verdict {
  if (arrays.some(({ health }) => health === "failed")) return "failed";
  if (frozen !== null || arrays.some(({ mapping }) => mapping?.io.state === "suspended")) return "frozen";
  if (arrays.some(({ health }) => health === "unknown")) return "unknown";
  const degraded = arrays.some(({ health }) => health === "degraded") || lostArrays.length > 0;
  if (degraded || nodes.some(({ state }) => state === "down" || state === "suspect")) return "degraded";
  return arrays.some(({ sync }) => sync.status === "running" || sync.status === "remote") ? "notice" : "ok";
}

/** What to do about it, most urgent first. Commands can be pasted. */
export function adviceFor(
  arrays: readonly ArrayInfo[],
  cluster: ClusterSummary,
  lostArrays: readonly LostArray[],
): readonly Advice[] {
  const advice: Advice[] = [];
  const { frozen } = cluster.service;
  if (frozen !== null) {
    const restore = `restore the lock service ${cluster.lockServer}`;
    const evict = "stop one of the holders for good, then";
    const text =
      frozen.command !== null
        ? evict
        : frozen.progress === null
          ? restore
          : "wait for the nodes that have not reported";
    advice.push({ text, command: frozen.command });
  }
  for (const { name, reason, at } of lostArrays) {
    advice.push({ text: `${name} is gone from this node since ${at} (${reason})`, command: `mdctl assemble ${name}` });
  }
  for (const array of arrays) advice.push(...arrayAdvice(array));
  return advice;
}

function arrayAdvice({ name, health, members, sync }: ArrayInfo): readonly Advice[] {
  if (health === "failed") return [{ text: `${name} has no good copy left`, command: `mdctl detail ${name}` }];
  const faulty = members.find(({ role }) => role === "faulty");
  const filling = sync.action === "recover";
  if (faulty !== undefined) {
    const what = faulty.serial === null ? (faulty.path ?? `member ${faulty.number}`) : `serial ${faulty.serial}`;
    const text = filling
      ? `when the recovery of ${name} is done, take ${what} out`
      : `replace ${what} of ${name}, then`;
    return [{ text, command: `mdctl remove ${name} faulty` }];
  }
  const missing = members.some(({ role }) => role === "missing");
  if (health === "degraded" && missing && !filling) {
    return [{ text: `${name} lacks a member`, command: `mdctl add ${name} DEVICE` }];
  }
  return [];
}
