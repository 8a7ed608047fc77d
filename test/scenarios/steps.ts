import { expect } from "vitest";
import { examine } from "../../src/array/examine.ts";
import { MemoryDevice } from "../../src/blockdev/memory-device.ts";
import type { ArrayInfo } from "../../src/daemon/control-api.ts";
import { type Expectation, statusText } from "./expectations.ts";
import { judgeImages } from "./judge-images.ts";
import type { Command, CreateCommand, DiskName, GrowChange, ManageOperation, NodeName, Stage } from "./stage.ts";
import { SLOW_KIB, wordsOf } from "./stage.ts";

/** One line of a scenario: what is done, or what must be so. What it tells goes into the transcript. */
export interface Step {
  readonly text: string;
  run(stage: Stage, tell: (line: string) => void): Promise<void>;
}

/** A scenario of the peer's test suite, or one beside it; every part begins with blank disks. */
export interface Scenario {
  readonly name: string;
  readonly parts: readonly Part[];
}

export interface Part {
  readonly title: string;
  readonly steps: readonly Step[];
  /** Kinds of complaints (`evt`) that belong to what is done here. */
  readonly provoked: readonly string[];
}

export const part = (title: string, steps: readonly Step[], provoked: readonly string[] = []): Part => ({
  title,
  steps,
  provoked,
});

/** What has not come after so many looks (each after a moment) never does. */
const MOST_LOOKS = 5000;

const describeCommand = (node: NodeName, command: Command): string => `${node}# mdctl ${wordsOf(command).join(" ")}`;

function command(node: NodeName, what: Command): Step {
  return {
    text: describeCommand(node, what),
    async run(stage) {
      const { code, text } = await stage.command(node, what);
      expect(code, `${describeCommand(node, what)}: ${text}`).toBeNull();
    },
  };
}

/** The command must be refused with this code. */
export function refusesToManage(code: string, node: NodeName, ...ops: readonly ManageOperation[]): Step {
  const what: Command = { verb: "manage", ops };
  return {
    text: `${describeCommand(node, what)}   # refused: ${code}`,
    async run(stage) {
      expect((await stage.command(node, what)).code).toBe(code);
    },
  };
}

export type CreateOptions = Partial<Omit<CreateCommand, "verb" | "disks">>;

const PLAIN = {
  level: 1,
  near: 2,
  spares: [],
  assumeClean: false,
  name: null,
  sizeKib: null,
  chunkKib: null,
} as const;

export const create = (node: NodeName, disks: readonly DiskName[], options: CreateOptions = {}): Step =>
  command(node, { verb: "create", ...PLAIN, disks, ...options });

export const assemble = (node: NodeName, disks: readonly DiskName[]): Step =>
  command(node, { verb: "assemble", disks });

export const grow = (node: NodeName, change: GrowChange): Step => command(node, { verb: "grow", change });

/** The command must be refused; with this code, where one is named. */
export const refuses = (node: NodeName, what: Command, code?: string): Step => ({
  text: `${describeCommand(node, what)}   # refused${code === undefined ? "" : `: ${code}`}`,
  async run(stage) {
    const outcome = await stage.command(node, what);
    if (code === undefined) expect(outcome.code).not.toBeNull();
    else expect(outcome.code, outcome.text).toBe(code);
  },
});

/** What the disks say of their bitmaps now, while the array is used. */
export const examined = (disks: readonly DiskName[], kind: "none" | "internal" | "clustered"): Step => ({
  text: `mdctl examine-bitmap ${disks.join(" ")}   # ${kind}`,
  async run(stage, tell) {
    for (const { disk, bytes } of await stage.images()) {
      if (!disks.includes(disk)) continue;
      const { bitmap, bitmapError } = await examine(new MemoryDevice(disk, bytes));
      expect(bitmapError).toBeNull();
      const found = bitmap === null ? "none" : bitmap.super.version === 5 ? "clustered" : "internal";
      expect(found, disk).toBe(kind);
      tell(
        `${disk}: ${bitmap === null ? "no bitmap" : `version ${bitmap.super.version}, ${bitmap.slots.length} slots`}`,
      );
    }
  },
});

export const stop = (node: NodeName): Step => command(node, { verb: "stop" });

export const fail = (disk: DiskName): ManageOperation => ({ op: "fail", disk });
export const remove = (disk: DiskName): ManageOperation => ({ op: "remove", disk });
export const add = (disk: DiskName): ManageOperation => ({ op: "add", disk });
export const reAdd = (disk: DiskName): ManageOperation => ({ op: "re-add", disk });
export const replace = (disk: DiskName, spare: DiskName): ManageOperation => ({ op: "replace", disk, with: spare });
export const addSpare = (disk: DiskName): ManageOperation => ({ op: "add-spare", disk });

/** Operations of one command, strictly in this order. */
export const manage = (node: NodeName, ...ops: readonly ManageOperation[]): Step =>
  command(node, { verb: "manage", ops });

export const kill = (node: NodeName): Step => ({ text: `kill -9 ${node}`, run: (stage) => stage.kill(node) });

/** Kills a node so many moments after it was told to do something, wherever it is with it by then. */
export function killDuring(node: NodeName, moments: number, ...ops: readonly ManageOperation[]): Step {
  const what: Command = { verb: "manage", ops };
  return {
    text: `${describeCommand(node, what)}   # kill -9 ${node}, ${moments} moments later`,
    async run(stage) {
      const running = stage.command(node, what).catch(() => null);
      for (let passed = 0; passed < moments; passed++) await stage.moment();
      await stage.kill(node);
      await running;
    },
  };
}

export const write = (node: NodeName, lo: number, hi: number): Step => ({
  text: `${node} writes [${lo}, ${hi})`,
  run: (stage) => stage.write(node, lo, hi),
});

export const load = (...nodes: readonly NodeName[]): Step => ({
  text: `${nodes.join(" ")} begin to write, each sectors of its own`,
  run: (stage) => stage.load(nodes, true),
});

export const unload = (...nodes: readonly NodeName[]): Step => ({
  text: `${nodes.join(" ")} stop writing`,
  run: (stage) => stage.load(nodes, false),
});

/** At the same time. */
export const together = (...steps: readonly Step[]): Step => ({
  text: `at once:\n${steps.map(({ text }) => `  ${text}`).join("\n")}`,
  async run(stage, tell) {
    await Promise.all(steps.map((step) => step.run(stage, tell)));
  },
});

/** While a node stands still, for less than its lease: what is begun then must wait for it, and ends. */
export const whileStill = (node: NodeName, step: Step): Step => ({
  text: `${step.text}   # while ${node} stands still for a moment`,
  async run(stage, tell) {
    await stage.pause(node);
    const running = step.run(stage, tell);
    await Promise.race([running, stage.moment()]);
    await stage.resume(node);
    await running;
  },
});

/** One of these nodes, whichever, comes to show all of it. */
export function untilAny(nodes: readonly NodeName[], ...expectations: readonly Expectation[]): Step {
  return {
    text: `until one of ${nodes.join(" ")} shows ${expectations.map(({ text }) => text).join(", ")}`,
    async run(stage) {
      for (let looks = 0; ; looks++) {
        const infos = await Promise.all(nodes.map((node) => stage.look(node)));
        if (infos.some((info) => info !== null && expectations.every(({ holds }) => holds(info)))) return;
        if (looks === MOST_LOOKS) throw new Error(`none ever does: ${JSON.stringify(infos)}`);
        await stage.moment();
      }
    },
  };
}

/** All nodes show this now. */
export function shows(nodes: readonly NodeName[], ...expectations: readonly Expectation[]): Step {
  return {
    text: `${nodes.join(" ")} show ${expectations.map(({ text }) => text).join(", ")}`,
    async run(stage, tell) {
      for (const node of nodes) {
        const info = await mustLook(stage, node);
        for (const { text, holds } of expectations) {
          expect(holds(info), `${node} shows ${text}:\n${statusText(info)}`).toBe(true);
        }
        for (const line of statusText(info)) tell(`${node}: ${line}`);
      }
    },
  };
}

/** Each of these nodes comes to show all of it, sooner or later. */
export function until(nodes: readonly NodeName[], ...expectations: readonly Expectation[]): Step {
  return {
    text: `until ${nodes.join(" ")} show ${expectations.map(({ text }) => text).join(", ")}`,
    async run(stage) {
      for (const node of nodes) {
        for (let looks = 0; ; looks++) {
          const info = await stage.look(node);
          if (info !== null && expectations.every(({ holds }) => holds(info))) break;
          if (looks === MOST_LOOKS) throw new Error(`${node} never does: ${JSON.stringify(info)}`);
          await stage.moment();
        }
      }
    },
  };
}

/** Raises the limit, waits until no node has or knows of anything to copy, and lowers it again. */
export function waitSync(...nodes: readonly NodeName[]): Step {
  return {
    text: `${nodes.join(" ")} wait`,
    async run(stage) {
      for (const node of nodes) await run(stage, command(node, { verb: "limit", kib: null }));
      // Twice: one that was at rest may have been given work by another one meanwhile.
      for (const node of [...nodes, ...nodes]) await run(stage, command(node, { verb: "wait" }));
      for (const node of nodes) await run(stage, command(node, { verb: "limit", kib: SLOW_KIB }));
    },
  };
}

/**
 * The end of a part: what was written is read back on every node; bitmaps become clean; then all stop, and the disks are
 * looked at: members equal byte by byte, superblocks whole with one event count, no bit in any slot.
 */
export function close(...nodes: readonly NodeName[]): Step {
  return {
    text: `${nodes.join(" ")} stop, and the disks are compared`,
    async run(stage) {
      await run(stage, waitSync(...nodes));
      for (const node of nodes) expect(await stage.misread(node), `read on ${node}`).toEqual([]);
      await run(stage, until(nodes, clean));
      for (const node of nodes) await run(stage, stop(node));
      expect(await judgeImages(await stage.images())).toEqual([]);
    },
  };
}

const clean: Expectation = { text: "no dirty chunk", holds: ({ bitmap }) => bitmap?.unionDirty === 0 };

const run = (stage: Stage, step: Step): Promise<void> => step.run(stage, () => {});

async function mustLook(stage: Stage, node: NodeName): Promise<ArrayInfo> {
  const info = await stage.look(node);
  if (info === null) throw new Error(`md0 is not assembled on ${node}`);
  return info;
}
