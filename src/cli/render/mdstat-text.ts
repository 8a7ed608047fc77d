import { basename } from "node:path";
import type { ArrayInfo, Bitmap, Member, Sync } from "../../daemon/control-api.ts";
import { decodeRaid10Layout, parseRaid10Layout } from "../../superblock/raid10-layout.ts";
import { safeText } from "./safe-text.ts";
import { memberLetters } from "./sync-text.ts";

const BAR = 20;
/** Chunks that one page of counters stands for, as the kernel counts pages. */
const CHUNKS_PER_PAGE = 2048;

/** The text of /proc/mdstat for these arrays, as md writes it. */
export function mdstatText(arrays: readonly ArrayInfo[]): string {
  const blocks = arrays.flatMap((array) => [...arrayLines(array), ""]);
  return `${["Personalities : [raid1] [raid10] ", ...blocks, "unused devices: <none>"].join("\n")}\n`;
}

function arrayLines(array: ArrayInfo): readonly string[] {
  const { name, state, level, members, sizeBytes, metadata, raidDevices, activeDevices, bitmap, sync } = array;
  const bound = members.filter(({ role }) => role !== "missing" && role !== "removed");
  const devices = [...bound].sort((a, b) => b.number - a.number).map(deviceText);
  const mode = state === "readonly" ? " (read-only)" : state === "read-auto" ? " (auto-read-only)" : "";
  const active = state === "inactive" || state === "clear" ? "inactive" : `active${mode} ${level}`;
  const kib = Math.floor(sizeBytes / 1024);
  const status = `[${raidDevices}/${activeDevices}] ${memberLetters(array)}`;
  return [
    `${word(name)} : ${[active, ...devices].join(" ")}`,
    `      ${kib} blocks super ${metadata}${stripeText(array)} ${status}`,
    ...syncLines(sync),
    ...(bitmap === null ? [] : [bitmapLine(bitmap)]),
  ];
}

/** Of a RAID10; the chunk only where it is not one mirror. */
function stripeText({ layout, chunkBytes, raidDevices }: ArrayInfo): string {
  const word = layout === null ? null : parseRaid10Layout(layout);
  if (word === null || chunkBytes === null) return "";
  const { near, far, offset } = decodeRaid10Layout(word);
  const chunk = near < raidDevices ? ` ${chunkBytes / 1024}K chunks` : "";
  const nearCopies = near > 1 ? ` ${near} near-copies` : "";
  const farCopies = far > 1 ? ` ${far} ${offset ? "offset" : "far"}-copies` : "";
  return `${chunk}${nearCopies}${farCopies}`;
}

/** A name in this text must be one word. */
const word = (text: string): string => safeText(text).replace(/\s/g, "_");

function deviceText({ path, number, role, slot, flags }: Member): string {
  const name = word(path === null ? "unknown-block" : basename(path));
  const writeMostly = flags.includes("write-mostly") ? "(W)" : "";
  if (role === "faulty") return `${name}[${number}]${writeMostly}(F)`;
  const spare = slot === null ? "(S)" : role === "replacement" ? "(R)" : "";
  return `${name}[${number}]${writeMostly}${spare}`;
}

function syncLines(sync: Sync): readonly string[] {
  const short = sync.action === "recover" ? "recover" : sync.action;
  switch (sync.status) {
    case "none":
    case "frozen":
      return [];
    case "remote":
      return [`      \t${short}=REMOTE`];
    case "pending":
      return ["      \tresync=PENDING"];
    case "delayed":
      return ["      \tresync=DELAYED"];
    case "running":
      return [runningLine(sync)];
    default:
      return sync.status satisfies never;
  }
}

function runningLine(sync: Sync): string {
  const done = sync.doneBytes ?? 0;
  const total = Math.max(1, sync.totalBytes ?? 1);
  const permille = Math.min(1000, Math.floor((sync.percent ?? (done / total) * 100) * 10 + 1e-9));
  const x = Math.floor(permille / 50);
  const bar = `${"=".repeat(x)}>${".".repeat(Math.max(0, BAR - x))}`.slice(0, BAR + 1);
  const verb = sync.action === "recover" ? "recovery" : sync.action;
  const percent = `${String(Math.floor(permille / 10)).padStart(3)}.${permille % 10}%`;
  const kib = (bytes: number): number => Math.floor(bytes / 1024);
  const speed = kib(sync.speedBytesPerSecond ?? 0);
  const finish = Math.floor((sync.etaSeconds ?? 0) / 6);
  return `      [${bar}]  ${verb} =${percent} (${kib(done)}/${kib(total)}) finish=${Math.floor(finish / 10)}.${finish % 10}min speed=${speed}K/sec`;
}

/** A clustered array has all its pages of counters allocated. */
function bitmapLine({ slots, chunkBytes }: Bitmap): string {
  const pages = Math.max(1, Math.ceil((slots[0]?.bits ?? 1) / CHUNKS_PER_PAGE));
  const kib = Math.floor(chunkBytes / 1024);
  const chunk = kib > 0 ? `${kib}KB` : `${chunkBytes}B`;
  return `      bitmap: ${pages}/${pages} pages [${pages * 4}KB], ${chunk} chunk`;
}
