import { readFileSync } from "node:fs";
import type { ArrayInfo, CreateData, ManageData, Mapping } from "../../src/daemon/control-api.ts";
import { judgeImages } from "../scenarios/judge-images.ts";
import { Host } from "./daemons.ts";

const NODES = ["n1", "n2"] as const;

export interface ChangingShape {
  /** As for `create`, e.g. --level=10 --layout=n2. */
  readonly options: readonly string[];
  readonly members: number;
  readonly memberBytes: number;
  /** Raid disks that can all be lost at once. */
  readonly together: readonly number[];
}

/**
 * An array of two nodes, and what an operator does to its members while it is used: each fails, is removed, comes back,
 * makes room for a new one and is replaced. Files, so that their bytes can be compared in the end.
 */
export class ChangingArray {
  readonly host: Host;
  readonly #shape: ChangingShape;
  readonly #files: string[] = [];
  #turns = 0;

  static async start(shape: ChangingShape): Promise<ChangingArray> {
    // Nobody is to lose a lease to a busy machine: that is no part of this.
    const array = new ChangingArray(new Host({ lease: "10s" }), shape);
    try {
      await array.#create();
      return array;
    } catch (error) {
      await array.host.close();
      throw error;
    }
  }

  private constructor(host: Host, shape: ChangingShape) {
    this.host = host;
    this.#shape = shape;
  }

  async #create(): Promise<void> {
    const members = Array.from({ length: this.#shape.members }, () => this.#newDisk());
    await Promise.all(NODES.map((node) => this.host.start(node)));
    const options = ["--cluster", "--assume-clean", "--bitmap-chunk=64K", "--file-members", "--run", "--no-map"];
    const create = ["create", "md0", ...this.#shape.options, `--raid-devices=${members.length}`, ...options];
    await this.host.data<CreateData>("n1", ...create, ...members);
    await this.host.data("n2", "assemble", "md0", "--no-map", ...members);
  }

  #newDisk(): string {
    const path = this.host.memberFile(`disk-${this.#files.length}.img`, this.#shape.memberBytes);
    this.#files.push(path);
    return path;
  }

  async uri(node: "n1" | "n2"): Promise<string> {
    return (await this.host.data<{ mapping: Mapping }>(node, "map", "md0")).mapping.uri;
  }

  async detail(node: "n1" | "n2"): Promise<ArrayInfo> {
    return (await this.host.data<{ array: ArrayInfo }>(node, "detail", "md0")).array;
  }

  /** One round of all changes; resolves when the array is whole again on both nodes. */
  async changeMembers(): Promise<void> {
    const { together } = this.#shape;
    for (const raidDisk of together) await this.#comesBack([await this.#on(raidDisk)]);
    if (together.length > 1) await this.#comesBack(await Promise.all(together.map((raidDisk) => this.#on(raidDisk))));
    for (const raidDisk of together) await this.#makesRoom(await this.#on(raidDisk));
    for (const raidDisk of together) await this.#isReplaced(await this.#on(raidDisk));
  }

  /** Fails, is removed, and comes back with what it missed. */
  async #comesBack(paths: readonly string[]): Promise<void> {
    for (const path of paths) await this.#manage("--fail", path);
    for (const path of paths) await this.#manage("--remove", path);
    for (const path of paths) {
      const { ops } = await this.#manage("--re-add", path);
      if (ops[0]?.as !== "re-add") throw new Error(`${path} did not come back as what it was: ${JSON.stringify(ops)}`);
    }
    await this.#whole();
  }

  /** Fails, is removed, and a new disk is filled from the others. */
  async #makesRoom(path: string): Promise<void> {
    await this.#manage("--fail", path, "--remove", path);
    await this.#manage("--add", this.#newDisk());
    await this.#whole();
  }

  /** Serves until a new disk has all of it, and is removed. */
  async #isReplaced(path: string): Promise<void> {
    const disk = this.#newDisk();
    await this.#manage("--add-spare", disk);
    await this.#manage("--replace", path, "--with", disk);
    await this.#whole();
    await this.#manage("--remove", path);
  }

  /** The nodes take turns at it. */
  #manage(...operations: readonly string[]): Promise<ManageData> {
    return this.host.data<ManageData>(NODES[this.#turns++ % 2] ?? "n1", "md0", ...operations);
  }

  async #on(raidDisk: number): Promise<string> {
    const { members } = await this.detail("n1");
    const path = members.find(({ slot, role }) => slot === raidDisk && role === "active")?.path;
    if (path === undefined || path === null) throw new Error(`nothing is on raid disk ${raidDisk}`);
    return path;
  }

  async #whole(): Promise<void> {
    for (const node of NODES) {
      await this.host.data(node, "wait", "md0");
      const { degradedBy, members } = await this.detail(node);
      const filled = members.filter(({ role, inSync }) => role === "active" && inSync).length;
      if (degradedBy === 0 && filled === this.#shape.members) continue;
      throw new Error(`${node} waited for md0 and finds ${JSON.stringify(members)}`);
    }
  }

  /** Stops the array everywhere. What is wrong with its disks then: copies that differ, bits that are left. */
  async judge(): Promise<readonly string[]> {
    for (const node of NODES) await this.host.data(node, "stop", "md0");
    return judgeImages(this.#files.map((path) => ({ disk: path, bytes: readFileSync(path) })));
  }

  close(): Promise<void> {
    return this.host.close();
  }
}
