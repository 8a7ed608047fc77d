import { BITMAP_MAGIC, BITMAP_STALE, type BitmapSuper } from "../bitmap/bitmap-super.ts";
import { mdUuidText } from "../superblock/uuid.ts";
import type { BitmapExamination, SlotExamination } from "./examine.ts";
import { humanChunk, humanSize, percent, printable } from "./mdadm-text.ts";

/** What `mdadm --examine-bitmap` (4.4) prints for a device, line by line: all slots of a clustered bitmap. */
export function examineBitmapText(path: string, bitmap: BitmapExamination): readonly string[] {
  const { super: shared, layout, slots } = bitmap;
  const clustered = shared.version === 5;
  const [first] = slots;
  return [
    `        Filename : ${printable(path)}`,
    `           Magic : ${BITMAP_MAGIC.toString(16)}`,
    `         Version : ${shared.version}`,
    `            UUID : ${mdUuidText(shared.uuid)}`,
    ...(clustered ? [] : historyLines(shared)),
    `       Chunksize : ${humanChunk(shared.chunkBytes)}`,
    `          Daemon : ${shared.daemonSleep}s flush period`,
    `      Write Mode : ${shared.writeBehind > 0 ? `Allow write behind, max ${shared.writeBehind}` : "Normal"}`,
    `       Sync Size : ${Math.floor(shared.syncSize / 2)}${humanSize(BigInt(shared.syncSize) * 512n)}`,
    ...(clustered
      ? [
          `   Cluster nodes : ${shared.nodes}`,
          `    Cluster name : ${printable(shared.clusterName).padEnd(64)}`,
          ...slots.flatMap((slot, number) => [
            `       Node Slot : ${number}`,
            ...historyLines(slot.super),
            bitsLine(slot, layout.chunks),
          ]),
        ]
      : first === undefined
        ? []
        : [bitsLine(first, layout.chunks)]),
  ];
}

const historyLines = ({ events, eventsCleared, state }: BitmapSuper): string[] => [
  `          Events : ${events}`,
  `  Events Cleared : ${eventsCleared}`,
  `           State : ${(state & BITMAP_STALE) !== 0 ? "Out of date" : "OK"}`,
];

const bitsLine = ({ dirty }: SlotExamination, chunks: number): string =>
  `          Bitmap : ${chunks} bits (chunks), ${dirty} dirty (${percent(dirty, chunks)}%)`;
