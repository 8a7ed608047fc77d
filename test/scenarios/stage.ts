import type { ArrayInfo } from "../../src/daemon/control-api.ts";

/** KiB per second: so slow that a copy of a small array can be watched. */
export const SLOW_KIB = 500;

export type NodeName = "n1" | "n2" | "n3";
/** A member disk, as all nodes call it. */
export type DiskName = "d0" | "d1" | "d2" | "d3" | "d4";

export interface CreateCommand {
  readonly verb: "create";
  readonly level: 1 | 10;
  /** Copies of a RAID10. */
  readonly near: number;
  readonly disks: readonly DiskName[];
  readonly spares: readonly DiskName[];
  readonly assumeClean: boolean;
  /** Null: as the array is called, md0. */
  readonly name: string | null;
  /** KiB used of each disk; null: all. */
  readonly sizeKib: number | null;
  /** KiB of a RAID10's chunk; null: whatever it is. */
  readonly chunkKib: number | null;
}

/** One of these. */
export type GrowChange =
  | { readonly bitmap: "none" | "internal" | "clustered" }
  | { readonly sizeKib: number | "max" }
  | { readonly chunkKib: number }
  | { readonly raidDevices: number; readonly add?: DiskName };

export interface ManageOperation {
  readonly op: "add" | "re-add" | "add-spare" | "fail" | "remove" | "replace";
  readonly disk: DiskName;
  /** replace: the spare. */
  readonly with?: DiskName;
}

/** What an operator types on one node. */
export type Command =
  | CreateCommand
  | { readonly verb: "assemble"; readonly disks: readonly DiskName[] }
  | { readonly verb: "stop" }
  | { readonly verb: "grow"; readonly change: GrowChange }
  | { readonly verb: "manage"; readonly ops: readonly ManageOperation[] }
  /** Until nothing is copied and nothing is left to copy, as far as this node knows. */
  | { readonly verb: "wait" }
  /** KiB per second; null: no limit. */
  | { readonly verb: "limit"; readonly kib: number | null };

/** How a command ended: null is success, else the code of its error. */
export type Outcome = { readonly code: string | null; readonly text: string };

/** An array's data on one disk, and what the disk says of itself. */
export interface DiskImage {
  readonly disk: DiskName;
  readonly bytes: Uint8Array;
}

/**
 * A cluster that scenarios are played on: the simulator or real daemons. Nodes that were never started are started by
 * their first command. One array, md0, on disks that all nodes share.
 */
export interface Stage {
  command(node: NodeName, command: Command): Promise<Outcome>;
  /** Ends a node without a word (SIGKILL, a lost host): its next command finds a new life. */
  kill(node: NodeName): Promise<void>;
  /** A node stands still (SIGSTOP, a stalled host), and goes on. */
  pause(node: NodeName): Promise<void>;
  resume(node: NodeName): Promise<void>;
  /** Null: the array is not assembled there. */
  look(node: NodeName): Promise<ArrayInfo | null>;
  /** Lets a moment pass between two looks. */
  moment(): Promise<void>;
  /** Writes array sectors [lo, hi) through a node, something new each time; resolves when it is acknowledged. */
  write(node: NodeName, lo: number, hi: number): Promise<void>;
  /** Every node begins to write sectors of its own (`true`), or ends and has got all its answers (`false`). */
  load(nodes: readonly NodeName[], on: boolean): Promise<void>;
  /** Sectors that a node reads otherwise than they were written. */
  misread(node: NodeName): Promise<readonly string[]>;
  /** What is on the disks now. No node uses them. */
  images(): Promise<readonly DiskImage[]>;
  /** Complaints in the logs of all nodes, of those kinds (`evt`) that the scenario did not provoke. */
  complaints(provoked: readonly string[]): readonly string[];
  /** What happened since it was last asked, for the transcript; empty where nobody keeps one. */
  story(): readonly string[];
  close(): Promise<void>;
}

/** The words of a command as `mdctl` takes them; `pathOf` says where a disk is, `array` what the array is called. */
export function wordsOf(
  command: Command,
  pathOf: (disk: DiskName) => string = (disk) => disk,
  array = "md0",
): readonly string[] {
  switch (command.verb) {
    case "create": {
      const { level, near, disks, spares, assumeClean, name, sizeKib, chunkKib } = command;
      const options = [
        `--level=${level}`,
        ...(level === 10 ? [`--layout=n${near}`] : []),
        "--cluster",
        ...(spares.length === 0 ? [] : [`-x${spares.length}`]),
        ...(assumeClean ? ["--assume-clean"] : []),
        ...(name === null ? [] : [`--name=${name}`]),
        ...(sizeKib === null ? [] : [`--size=${sizeKib}`]),
        ...(chunkKib === null ? [] : [`--chunk=${chunkKib}`]),
      ];
      return ["create", "md0", ...options, ...[...disks, ...spares].map(pathOf)];
    }
    case "assemble":
      return ["assemble", array, ...command.disks.map(pathOf)];
    case "grow":
      return ["grow", array, ...growWords(command.change, array, pathOf)];
    case "stop":
      return ["stop", array];
    case "manage":
      return [
        array,
        ...command.ops.flatMap((op) => [
          ...[`--${op.op}`, pathOf(op.disk)],
          ...(op.with === undefined ? [] : ["--with", pathOf(op.with)]),
        ]),
      ];
    case "wait":
      return ["wait", array];
    case "limit":
      return ["action", array, `--limit=${command.kib === null ? "max" : `${command.kib}K`}`];
    default:
      return command satisfies never;
  }
}

function growWords(change: GrowChange, array: string, pathOf: (disk: DiskName) => string): readonly string[] {
  if ("bitmap" in change) return [`--bitmap=${change.bitmap}`];
  if ("chunkKib" in change) return [`--chunk=${change.chunkKib}`];
  // Whether that makes it smaller, nobody is asked.
  if ("sizeKib" in change) return [`--size=${change.sizeKib}`, "--force", `--confirm=${array}`];
  return [`--raid-devices=${change.raidDevices}`, ...(change.add === undefined ? [] : ["--add", pathOf(change.add)])];
}
