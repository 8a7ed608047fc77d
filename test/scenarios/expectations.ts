import { mdstatText } from "../../src/cli/render/mdstat-text.ts";
import type { ArrayInfo } from "../../src/daemon/control-api.ts";

/** What the peer's tests assert of a node's status; the names are theirs. */
export interface Expectation {
  readonly text: string;
  holds(info: ArrayInfo): boolean;
}

const expectation = (text: string, holds: (info: ArrayInfo) => boolean): Expectation => ({ text, holds });

/** Neither a resync nor a recovery, here or elsewhere, under way or waiting. */
export const nosync = expectation("nosync", (info) => !/resync|recover/i.test(mdstatText([info])));

/** This node resyncs. */
export const resync = expectation("resync", ({ sync }) => sync.action === "resync" && sync.status === "running");

/**
 * This node knows of a resync and does not do it. The kernel says PENDING of a node that waits for its turn; where we
 * know that it is another node's work, the word is REMOTE.
 */
export const pending = expectation(
  "PENDING",
  ({ sync }) => sync.action === "resync" && ["pending", "delayed", "remote"].includes(sync.status),
);

/** A member is being filled, by this node or by another one that this node has heard of. */
export const recoveryRemote = expectation("recovery-remote", (info) => /recovery|REMOTE/.test(mdstatText([info])));

/** This node fills a member. */
export const recovering = expectation(
  "recovering",
  ({ sync }) => sync.action === "recover" && sync.status === "running",
);

export const raid1 = expectation("raid1", (info) => mdstatText([info]).includes(" raid1 "));

export const raid10 = expectation("raid10", (info) => mdstatText([info]).includes(" raid10 "));

export const bitmap = expectation("bitmap", (info) => mdstatText([info]).includes("bitmap:"));

export const nobitmap = expectation("nobitmap", (info) => !mdstatText([info]).includes("bitmap:"));

/** KiB that clients may use, and of a RAID10's chunk. */
export const sizeIs = (kib: number): Expectation =>
  expectation(`size ${kib}K`, ({ sizeBytes }) => sizeBytes === kib * 1024);
export const largerThan = (kib: number): Expectation =>
  expectation(`more than ${kib}K`, ({ sizeBytes }) => sizeBytes > kib * 1024);
export const chunkIs = (kib: number): Expectation =>
  expectation(`chunk ${kib}K`, ({ chunkBytes }) => chunkBytes === kib * 1024);

export const spares = (count: number): Expectation =>
  expectation(`spares ${count}`, (info) => (mdstatText([info]).match(/\(S\)/g) ?? []).length === count);

/** So many members are filled beside the ones that they replace. */
export const replacements = (count: number): Expectation =>
  expectation(`replacements ${count}`, (info) => (mdstatText([info]).match(/\(R\)/g) ?? []).length === count);

export const faulty = (count: number): Expectation =>
  expectation(`faulty ${count}`, (info) => (mdstatText([info]).match(/\(F\)/g) ?? []).length === count);

/** `UU`: two members in sync. */
export const state = (letters: string): Expectation =>
  expectation(`[${letters}]`, (info) =>
    mdstatText([info])
      .split("\n")
      .some((line) => line.endsWith(`[${letters}]`)),
  );

/** The name in the superblock. */
export const named = (name: string): Expectation => expectation(`name ${name}`, (info) => info.name === name);

/** In which slot's bitmap the node marks what it writes. */
export const inSlot = (slot: number): Expectation => expectation(`slot ${slot}`, (info) => info.slot === slot);

/** How much this node has copied since it assembled the array, in KiB. */
export const copied = (kib: number): Expectation =>
  expectation(`${kib} KiB copied`, ({ copiedBytes }) => copiedBytes === kib * 1024);

/** What a dead node's slot had to be resynced for: no more than that was copied. */
export const copiedAtMost = (kib: number): Expectation =>
  expectation(`at most ${kib} KiB copied`, ({ copiedBytes }) => copiedBytes <= kib * 1024);

/** What a transcript says of a node: the lines of mdstat without what differs from moment to moment. */
export function statusText(info: ArrayInfo): readonly string[] {
  const lines = mdstatText([info]).split("\n");
  return lines
    .filter((line) => /^md|^\s+\S.*(blocks|resync|recover)/.test(line))
    .map((line) => line.trim().replace(/^\[[=>.]+\]\s+(\w+) =.*$/, "$1 ="));
}
