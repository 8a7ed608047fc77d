import { basename } from "node:path";
import type { ArrayInfo, FrozenInfo, Member, NodeInfo, StatusData, Sync } from "../../daemon/control-api.ts";
import { nextText } from "../../daemon/frozen-info.ts";
import { durationText } from "./duration-text.ts";
import { safeText } from "./safe-text.ts";
import { sizeText } from "./size-text.ts";
import { memberLetters, syncText } from "./sync-text.ts";

/** `mdctl status`: is anything wrong, what is going on, what should I do, in this order. */
export function statusText(data: StatusData): string {
  const { cluster, arrays, nodes, advice } = data;
  const count = arrays.length === 1 ? "1 array" : `${arrays.length} arrays`;
  const first = `${cluster.name ?? "no cluster"}: ${data.verdict.toUpperCase()}, ${cluster.nodesUp} of ${cluster.nodesTotal} nodes, ${count}, lock service ${cluster.lockService}`;
  const [next] = advice;
  const last =
    next === undefined ? "nothing to do" : `next: ${next.text}${next.command === null ? "" : `: ${next.command}`}`;
  const name = Math.max(5, ...arrays.map((array) => safeText(array.name).length));
  const lines = [
    first,
    ...frozenLines(cluster.service.frozen),
    ...arrays.flatMap((array) => arrayLines(array, name)),
    ...nodes.flatMap(nodeLines),
    last,
  ];
  return `${lines.map(safeText).join("\n")}\n`;
}

function frozenLines(frozen: FrozenInfo | null): readonly string[] {
  if (frozen === null) return [];
  const { waiting } = frozen;
  const waits =
    waiting === 0 ? [] : [`        ${waiting} ${waiting === 1 ? "request waits" : "requests wait"} on this node`];
  return [`frozen: ${frozen.text}`, `        ${nextText(frozen)}`, ...waits];
}

function arrayLines(array: ArrayInfo, width: number): readonly string[] {
  const { name, level, sizeBytes, health, state, sync, nodes, members, suspended } = array;
  const words = [
    state,
    ...(health === "optimal" ? [] : [health]),
    ...(sync.status === "none" ? [] : [syncWords(sync)]),
  ];
  const who = nodes.filter((node) => node.state === "up").map((node) => node.name);
  const line = `${name.padEnd(width)} ${level}   ${sizeText(sizeBytes)}  ${memberLetters(array)}  ${words.join(", ")}    ${who.join(" ")}`;
  const indent = " ".repeat(width + 1);
  return [
    line,
    ...(sync.status === "running" ? [`${indent}${syncText(sync)}`] : []),
    ...members.filter(({ role }) => role === "faulty").map((member) => `${indent}${faultyText(member)}`),
    ...members.filter(hasReadErrors).map((member) => `${indent}${readErrorsText(member)}`),
    ...suspended.map(
      ({ loBytes, hiBytes, byNode }) =>
        `${indent}${sizeText(loBytes)} to ${sizeText(hiBytes)} suspended${byNode === null ? "" : ` by ${byNode}`}`,
    ),
  ];
}

const doingOf: Partial<Record<Sync["action"], string>> = {
  recover: "recovering",
  resync: "resyncing",
  check: "checking",
  repair: "repairing",
};

function syncWords({ action, status, node, waitingFor }: Sync): string {
  if (status === "frozen") return "frozen";
  const doing = doingOf[action] ?? action;
  if (status === "running" || status === "remote") return node === null ? doing : `${doing} on ${node}`;
  return waitingFor === null ? `${action} ${status}` : `${action} ${status} (${waitingFor})`;
}

const hasReadErrors = ({ role, errors }: Member): boolean => role !== "faulty" && errors.read + errors.corrected > 0;

/** A disk that begins to fail is known by it. */
function readErrorsText(member: Member): string {
  const { read, corrected } = member.errors;
  return `${diskText(member)}: ${read} read errors here, ${corrected} sectors rewritten so far`;
}

const diskText = ({ path, serial, number }: Member): string =>
  `${path === null ? `member ${number}` : basename(path)}${serial === null ? "" : ` (serial ${serial})`}`;

function faultyText(member: Member): string {
  const { errors } = member;
  return `${diskText(member)} is faulty: ${errors.write} write and ${errors.read} read errors here`;
}

function nodeLines({ name, slot, state, lastSeenSeconds, note }: NodeInfo): readonly string[] {
  if (state === "up") return [];
  const where = slot === null ? "" : `, slot ${slot}`;
  const since = lastSeenSeconds === null ? "" : ` ${durationText(lastSeenSeconds)}`;
  return [`${name}  ${state}${since}${where}${note === null ? "" : `: ${note}`}`];
}
