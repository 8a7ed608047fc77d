import { humanSize, timeText } from "../../array/mdadm-text.ts";
import type { ArrayInfo, BitmapSlot, Member, NodeInfo, Sync } from "../../daemon/control-api.ts";
import { nextText } from "../../daemon/frozen-info.ts";
import { parseRaid10Layout, raid10LayoutText } from "../../superblock/raid10-layout.ts";
import { durationText } from "./duration-text.ts";
import { mismatchLines } from "./mismatch-text.ts";
import { safeText } from "./safe-text.ts";
import { etaText, percentText } from "./sync-text.ts";

interface DetailOptions {
  readonly devices: boolean;
  /** Seconds to add to UTC at that moment. */
  readonly utcOffset: (seconds: number) => number;
}

const LABEL = 18;
const field = (label: string, value: string | number): string => `${label.padStart(LABEL)} : ${value}`;

const bitmapWords = { internal: "Internal", clustered: "Internal(Clustered)" } as const;

/** `mdctl detail`: mdadm's fields in mdadm's order, and what a cluster adds. */
export function detailText(array: ArrayInfo, { devices, utcOffset }: DetailOptions): readonly string[] {
  const time = (text: string): string => {
    const seconds = Date.parse(text) / 1000;
    return timeText(Math.floor(seconds) + utcOffset(seconds));
  };
  const kib = (bytes: number): string => `${Math.floor(bytes / 1024)}${humanSize(BigInt(bytes))}`;
  return [
    `${safeText(array.path)}:`,
    field("Version", array.metadata),
    field("Creation Time", time(array.createdAt)),
    field("Raid Level", array.level),
    field("Array Size", kib(array.sizeBytes)),
    field("Used Dev Size", kib(array.usedDevBytes)),
    field("Raid Devices", array.raidDevices),
    field("Total Devices", array.totalDevices),
    field("Persistence", "Superblock is persistent"),
    "",
    ...(array.bitmap === null ? [] : [field("Intent Bitmap", bitmapWords[array.bitmap.type]), ""]),
    field("Update Time", time(array.updatedAt)),
    field("State", stateText(array)),
    field("Active Devices", array.activeDevices),
    field("Working Devices", array.workingDevices),
    field("Failed Devices", array.failedDevices),
    field("Spare Devices", array.spareDevices),
    "",
    ...stripeLines(array),
    field("Consistency Policy", array.consistency),
    ...frozenLines(array),
    ...syncLines(array.sync),
    "",
    field("Name", safeText(`${array.homehost ?? "any"}:${array.name}`)),
    ...(array.clustered ? [field("Cluster Name", safeText(array.homeCluster ?? ""))] : []),
    field("UUID", array.uuid),
    field("Events", array.events),
    ...(array.clustered ? [field("Node Slot", `${array.slot} of ${array.nodesMax} (${safeText(array.node)})`)] : []),
    field("IO Ring", safeText(ringText(array))),
    ...(array.mapping === null ? [] : [field("Exported", safeText(array.mapping.uri))]),
    ...(devices ? ["", ...memberLines(array.members)] : []),
    "",
    ...slotLines(array),
    ...mismatchLines(array),
  ];
}

function stripeLines({ layout, chunkBytes }: ArrayInfo): readonly string[] {
  const word = layout === null ? null : parseRaid10Layout(layout);
  if (word === null || chunkBytes === null) return [];
  return [field("Layout", raid10LayoutText(word)), field("Chunk Size", `${chunkBytes / 1024}K`), ""];
}

const ringText = ({ ring: { kind, about } }: ArrayInfo): string =>
  about.startsWith(kind) ? about : `${kind} (${about})`;

function frozenLines({ frozen }: ArrayInfo): readonly string[] {
  if (frozen === null) return [];
  const command = frozen.command === null ? [] : [field("Try", safeText(frozen.command))];
  return ["", field("Frozen", safeText(frozen.text)), field("Next", safeText(nextText(frozen))), ...command];
}

function stateText({ state, health, sync, frozen }: ArrayInfo): string {
  const words: string[] = [state];
  if (frozen !== null) words.push("FROZEN");
  if (health === "degraded") words.push("degraded");
  if (health === "failed") words.push("FAILED");
  const names: Partial<Record<Sync["action"], string>> = {
    recover: "recovering",
    resync: "resyncing",
    check: "checking",
    repair: "checking",
  };
  const doing = names[sync.action] ?? null;
  if (doing !== null && sync.status !== "none") {
    words.push(sync.status === "running" ? doing : `${doing} (${sync.status.toUpperCase()})`);
  }
  return words.join(", ");
}

function syncLines(sync: Sync): readonly string[] {
  if (sync.status !== "running" || sync.percent === null) return [];
  const labels: Partial<Record<Sync["action"], string>> = {
    recover: "Rebuild Status",
    check: "Check Status",
    repair: "Check Status",
  };
  const label = labels[sync.action] ?? "Resync Status";
  const parts = [
    `${percentText(sync.percent)} complete`,
    etaText(sync),
    sync.node === null ? "" : `on ${safeText(sync.node)}`,
  ];
  return ["", field(label, parts.filter((part) => part !== "").join(", "))];
}

function memberLines(members: readonly Member[]): readonly string[] {
  const cell = (value: string | number): string => String(value).padStart(5);
  const rows = [...members].sort(bySlot).map((member) => {
    const number = member.number < 0 ? "-" : member.number;
    const slot = member.slot ?? "-";
    const numbers = `   ${cell(number)}   ${cell(member.major ?? 0)}    ${cell(member.minor ?? 0)}    ${cell(slot)}     `;
    return `${numbers} ${memberState(member)}${member.path === null ? "" : `   ${safeText(member.path)}`}`;
  });
  return ["    Number   Major   Minor   RaidDevice State", ...rows];
}

const bySlot = (a: Member, b: Member): number => (a.slot ?? 1e9) - (b.slot ?? 1e9) || a.number - b.number;

function memberState({ role, inSync, flags }: Member): string {
  switch (role) {
    case "active":
      return inSync ? `active sync${marks(flags)}` : "spare rebuilding";
    case "faulty":
      return flags.includes("blocked") ? "faulty blocked" : "faulty";
    case "missing":
    case "removed":
      return "removed";
    case "spare":
      return role;
    case "replacement":
      // mdadm's word for whatever is filled.
      return "spare rebuilding";
    default:
      return role satisfies never;
  }
}

/** Spelled as mdadm does here. */
const marks = (flags: Member["flags"]): string =>
  `${flags.includes("write-mostly") ? " writemostly" : ""}${flags.includes("failfast") ? " failfast" : ""}`;

function slotLines({ bitmap, nodes, suspended }: ArrayInfo): readonly string[] {
  if (bitmap?.type !== "clustered") return [];
  const rows = bitmap.slots.map((slot) => {
    const node = nodes.find(({ name }) => name === slot.node);
    const range = suspended.find(({ byNode }) => byNode !== null && byNode === slot.node);
    const gib = (bytes: number): string => (bytes / 1024 ** 3).toFixed(2);
    const window = range === undefined ? "-" : `${gib(range.loBytes)}-${gib(range.hiBytes)} GiB (${range.reason})`;
    const cells = [safeText(slot.node ?? "-").padEnd(9), nodeState(slot, node).padEnd(10), dirtyText(slot).padEnd(18)];
    return `    ${String(slot.slot).padStart(6)}   ${cells.join(" ")} ${lockText(slot).padEnd(13)} ${window}`;
  });
  return ["      Slot   Node      State      Bitmap             Lock          Suspended", ...rows];
}

const nodeState = ({ node }: BitmapSlot, info: NodeInfo | undefined): string => {
  if (node === null) return "free";
  if (info?.state === "down")
    return `down ${info.lastSeenSeconds === null ? "" : durationText(info.lastSeenSeconds)}`.trim();
  return info?.state ?? "up";
};

const dirtyText = ({ dirty, bits, state }: BitmapSlot): string =>
  state === "ok" ? `${dirty ?? "?"} dirty of ${bits}` : `${state}: all of ${bits}`;

const lockText = ({ slot, lock }: BitmapSlot): string =>
  lock.mode === null ? "free" : `bitmap${String(slot).padStart(4, "0")} ${lock.mode}`;

/** The line that describes the array in a configuration file. */
export const scanLine = ({ path, uuid, metadata, name, homehost }: ArrayInfo): string =>
  `ARRAY ${safeText(path)} metadata=${metadata} UUID=${uuid} name=${safeText(`${homehost ?? "any"}:${name}`)}`;
