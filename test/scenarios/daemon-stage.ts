import { randomBytes } from "node:crypto";
import { readFileSync, rmSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import { NbdClient } from "../../src/blockdev/nbd/nbd-client.ts";
import { BLOCK_BYTES } from "../../src/cli/demo/pattern.ts";
import { VerifyingWriter } from "../../src/cli/demo/verifying-writer.ts";
import type { ArrayInfo, Mapping } from "../../src/daemon/control-api.ts";
import { realRandom } from "../../src/env/real-env.ts";
import type { Host } from "../support/daemons.ts";
import {
  type Command,
  type DiskImage,
  type DiskName,
  type NodeName,
  type Outcome,
  type Stage,
  wordsOf,
} from "./stage.ts";

const MIB = 1024 * 1024;
const DISKS: readonly DiskName[] = ["d0", "d1", "d2", "d3", "d4"];
const NODES: readonly NodeName[] = ["n1", "n2", "n3"];
/** What a resync has to copy takes several windows. */
const DISK_BYTES = 5 * MIB - 37 * 512;
const CREATE = ["--file-members", "--bitmap-chunk=64K", "--delay=1", "--no-map", "--run"];
const MOMENT_MS = 20;
/** Of real disks, where a copy is to be watched: it must last longer than a busy machine takes to look. */
export const WATCHED_KIB = 200;
const MOST_BYTES = 256 * 1024;
/** Of nodes under load: how many blocks each has, and where the first node's begin. Behind what scenarios write themselves. */
const LOAD_BLOCKS = 64;
const LOAD_FIRST = 400;
const DEPTH = 4;

interface LogLine {
  readonly level: string;
  readonly evt: string;
  readonly peer: string;
  readonly msg: string;
  readonly err?: unknown;
}

interface Load {
  readonly writer: VerifyingWriter;
  readonly stop: AbortController;
  /** With why it broke. */
  readonly running: Promise<Error | null>;
  readonly client: NbdClient;
}

/** What stages on one host have in common, one after the other. */
export class Fleet {
  /** Nodes whose daemon is up. */
  readonly running = new Set<string>();
  /** How often each node was killed. */
  readonly kills = new Map<string, number>();
  readonly host: Host;
  #stages = 0;

  constructor(host: Host) {
    this.host = host;
  }

  stage(): DaemonStage {
    return new DaemonStage(this, `s${this.#stages++}`);
  }
}

/** Daemons of their own on one host, with files as disks. Each stage has new disks; the daemons may be used before and after. */
class DaemonStage implements Stage {
  readonly #fleet: Fleet;
  readonly #host: Host;
  readonly #prefix: string;
  readonly #running: Set<string>;
  readonly #clients = new Map<NodeName, NbdClient>();
  readonly #loads = new Map<NodeName, Load>();
  readonly #writers: VerifyingWriter[] = [];
  /** What scenarios wrote, by sector; null where nobody did. */
  readonly #written = new Map<number, Buffer>();
  /** What the array is called: as its superblocks say. */
  #array = "md0";
  /** Lines of the logs that are older than this stage. */
  readonly #oldLines: ReadonlyMap<readonly string[], number>;

  constructor(fleet: Fleet, prefix: string) {
    const { host, running } = fleet;
    this.#fleet = fleet;
    this.#host = host;
    this.#prefix = prefix;
    this.#running = running;
    this.#oldLines = new Map(host.lives().map(({ lines }) => [lines, lines.length]));
    for (const disk of DISKS) host.memberFile(this.#fileOf(disk), DISK_BYTES);
  }

  async command(node: NodeName, command: Command): Promise<Outcome> {
    if (!this.#running.has(node)) {
      await this.#host.start(node);
      this.#running.add(node);
    }
    if (command.verb === "stop") await this.#hangUp(node);
    if (command.verb === "create") this.#array = command.name ?? "md0";
    const watched = command.verb === "limit" && command.kib !== null ? { ...command, kib: WATCHED_KIB } : command;
    const words = wordsOf(watched, (disk) => this.#host.path(this.#fileOf(disk)), this.#array);
    const more = command.verb === "create" ? CREATE : command.verb === "assemble" ? ["--no-map"] : [];
    const { ok, exitCode, error } = await this.#host.json(node, ...words, ...more);
    if (ok !== (exitCode === 0)) throw new Error(`${words.join(" ")}: ok is ${ok}, the exit status ${exitCode}`);
    return {
      code: error?.code ?? null,
      text: error === null ? "" : `${error.message} ${JSON.stringify(error.causes)}`,
    };
  }

  async kill(node: NodeName): Promise<void> {
    const load = this.#loads.get(node);
    const { kills } = this.#fleet;
    kills.set(node, (kills.get(node) ?? 0) + 1);
    await this.#host.end(node, "SIGKILL");
    this.#running.delete(node);
    await load?.running;
    await load?.client.close();
    this.#loads.delete(node);
    await this.#hangUp(node);
  }

  async pause(node: NodeName): Promise<void> {
    process.kill(this.#host.pidOf(node), "SIGSTOP");
  }

  async resume(node: NodeName): Promise<void> {
    process.kill(this.#host.pidOf(node), "SIGCONT");
  }

  async look(node: NodeName): Promise<ArrayInfo | null> {
    if (!this.#running.has(node)) return null;
    const { data, error } = await this.#host.json<{ array: ArrayInfo }>(node, "detail", this.#array);
    if (data !== null) return data.array;
    if (error?.code === "E_ARRAY_NOT_ACTIVE") return null;
    throw new Error(`detail on ${node}: ${JSON.stringify(error)}`);
  }

  moment(): Promise<void> {
    return pause(MOMENT_MS);
  }

  async write(node: NodeName, lo: number, hi: number): Promise<void> {
    const client = await this.#client(node);
    const bytes = randomBytes((hi - lo) * 512);
    for (let at = 0; at < bytes.byteLength; at += MOST_BYTES) {
      await client.write(lo * 512 + at, bytes.subarray(at, at + MOST_BYTES));
    }
    for (let sector = lo; sector < hi; sector++) {
      this.#written.set(sector, bytes.subarray((sector - lo) * 512, (sector - lo + 1) * 512));
    }
  }

  async load(nodes: readonly NodeName[], on: boolean): Promise<void> {
    for (const node of nodes) {
      const broken = on ? await this.#begin(node) : await this.#end(node);
      if (broken !== null) throw new Error(`the load on ${node}: ${broken.message}`);
    }
  }

  async misread(node: NodeName): Promise<readonly string[]> {
    const client = await this.#client(node);
    const wrong: string[] = [];
    for (const [sector, expected] of this.#written) {
      if (!(await client.read(sector * 512, 512)).equals(expected)) wrong.push(`sector ${sector}`);
    }
    for (const writer of this.#writers) {
      const { wrong: blocks } = await writer.verify(client);
      wrong.push(...blocks.map((block) => `block ${block} of ${BLOCK_BYTES} bytes`));
    }
    return wrong.slice(0, 10);
  }

  images(): Promise<readonly DiskImage[]> {
    const imageOf = (disk: DiskName): DiskImage => ({ disk, bytes: readFileSync(this.#host.path(this.#fileOf(disk))) });
    return Promise.resolve(DISKS.map(imageOf));
  }

  complaints(provoked: readonly string[]): readonly string[] {
    const told = this.#host.lives().flatMap(({ life, lines }) => {
      // A node that was killed is missed once by every other one, perhaps not before the next stage.
      const missed = new Map(this.#fleet.kills);
      return lines.flatMap((line, at) => {
        const { level, evt, peer, msg, err } = JSON.parse(line) as LogLine;
        if (level !== "error" && level !== "fatal") return [];
        const left = evt === "nodedown" ? (missed.get(peer) ?? 0) : 0;
        missed.set(peer, left - 1);
        return left > 0 || at < (this.#oldLines.get(lines) ?? 0)
          ? []
          : [`${life}: ${msg} ${JSON.stringify(err) ?? ""}`];
      });
    });
    return told.filter((line) => !provoked.some((word) => line.includes(word)));
  }

  /** Of real daemons nobody keeps one: it would differ from run to run. */
  story(): readonly string[] {
    return [];
  }

  /** Whatever happened: the next stage finds no array. */
  async close(): Promise<void> {
    for (const node of NODES) {
      await this.#end(node);
      await this.#hangUp(node);
      if (this.#running.has(node)) await this.#host.json(node, "stop", "--scan");
    }
    // A node that is asked for a device looks at all files here, and has 5 s for it.
    for (const disk of DISKS) rmSync(this.#host.path(this.#fileOf(disk)), { force: true });
  }

  #fileOf(disk: DiskName): string {
    return `${this.#prefix}-${disk}.img`;
  }

  async #client(node: NodeName): Promise<NbdClient> {
    const known = this.#clients.get(node);
    if (known !== undefined) return known;
    const { mapping } = await this.#host.data<{ mapping: Mapping }>(node, "map", this.#array);
    const client = await NbdClient.connect(mapping.uri);
    this.#clients.set(node, client);
    return client;
  }

  async #begin(node: NodeName): Promise<Error | null> {
    const { mapping } = await this.#host.data<{ mapping: Mapping }>(node, "map", this.#array);
    const client = await NbdClient.connect(mapping.uri);
    const firstBlock = LOAD_FIRST + NODES.indexOf(node) * LOAD_BLOCKS;
    const writer = new VerifyingWriter({ firstBlock, blocks: LOAD_BLOCKS }, realRandom);
    const stop = new AbortController();
    const running = writer.run(client, DEPTH, stop.signal);
    this.#writers.push(writer);
    this.#loads.set(node, { writer, stop, running, client });
    return Promise.race([running, writer.acknowledged(50).then(() => null)]);
  }

  /** Null also for a node that has none, or none any more. */
  async #end(node: NodeName): Promise<Error | null> {
    const load = this.#loads.get(node);
    this.#loads.delete(node);
    load?.stop.abort();
    const broken = await load?.running;
    await load?.client.close();
    return broken ?? null;
  }

  async #hangUp(node: NodeName): Promise<void> {
    const client = this.#clients.get(node);
    this.#clients.delete(node);
    await client?.close();
  }
}
