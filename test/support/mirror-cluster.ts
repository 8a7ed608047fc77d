import { setTimeout as pause } from "node:timers/promises";
import { expect } from "vitest";
import { NbdClient } from "../../src/blockdev/nbd/nbd-client.ts";
import { firstDifference } from "../../src/cli/demo/compare-members.ts";
import { BLOCK_BYTES } from "../../src/cli/demo/pattern.ts";
import { VerifyingWriter } from "../../src/cli/demo/verifying-writer.ts";
import type { ArrayInfo, HistoryEvent, Mapping, MessagesData, StatusData } from "../../src/daemon/control-api.ts";
import { realRandom } from "../../src/env/real-env.ts";
import { conflictsAmong, holdsOf } from "../../src/sim/replay/holds.ts";
import { replayTrace } from "../../src/sim/replay/replay.ts";
import { Host, type HostOptions, runProgram } from "./daemons.ts";
import { lifeTrace, machineRecords } from "./life-log.ts";

const MIB = 1024 * 1024;
const MEMBER_BYTES = 24 * MIB;
const DEPTH = 4;
/** What is written here, from the front of the array; the rest is `fio`'s. */
const WRITTEN_BYTES = MEMBER_BYTES - 8 * MIB;
const FIO_BYTES = 4 * MIB;
/** Between two writes of one request in flight: the load must leave the machine some time for everything else. */
const PACE_MS = 2;
const POLL_MS = 20;

interface Worker {
  readonly node: string;
  readonly writer: VerifyingWriter;
  client: NbdClient | null;
  stop: AbortController;
  running: Promise<unknown>;
}

/**
 * Daemons that share one mirror, under a load that is verified: every node writes a region of its own over NBD, and adds
 * and removes a spare of its own, over and over, which takes every lock of the array and a message each time.
 */
export class MirrorCluster {
  readonly host: Host;
  readonly members: readonly [string, string];
  readonly #workers: readonly Worker[];

  static async start(nodes: readonly string[], options: HostOptions): Promise<MirrorCluster> {
    const host = new Host({ ...options, daemonOptions: ["--log-level=trace", ...(options.daemonOptions ?? [])] });
    const cluster = new MirrorCluster(host, nodes);
    try {
      await cluster.#assemble();
    } catch (error) {
      await cluster.close();
      throw error;
    }
    return cluster;
  }

  private constructor(host: Host, nodes: readonly string[]) {
    this.host = host;
    this.members = [host.memberFile("a.img", MEMBER_BYTES), host.memberFile("b.img", MEMBER_BYTES)];
    const blocks = Math.floor(WRITTEN_BYTES / BLOCK_BYTES / nodes.length);
    this.#workers = nodes.map((node, at) => ({
      node,
      writer: new VerifyingWriter({ firstBlock: at * blocks, blocks }, realRandom),
      client: null,
      stop: new AbortController(),
      running: Promise.resolve(),
    }));
  }

  get nodes(): readonly string[] {
    return this.#workers.map(({ node }) => node);
  }

  async #assemble(): Promise<void> {
    const { host, nodes, members } = this;
    const [first = "", ...others] = nodes;
    await Promise.all(nodes.map((node) => host.start(node)));
    const create = ["create", "md0", "--level=1", "--cluster", "--bitmap-chunk=64K", "--delay=1", "--assume-clean"];
    await host.data(first, ...create, "--run", "--file-members", ...members);
    for (const node of others) await host.data(node, "assemble", "md0", ...members);
    for (const node of nodes) host.memberFile(`spare-${node}.img`, MEMBER_BYTES);
  }

  /** A node that was killed or that dropped out comes back into the array. */
  async assemble(node: string): Promise<void> {
    await this.host.data(node, "assemble", "md0", ...this.members);
  }

  /** Of a node whose daemon has ended: its load has ended too, and hangs up. */
  async gone(node: string): Promise<void> {
    for (const worker of this.#of([node])) {
      await worker.running;
      await worker.client?.close();
      worker.client = null;
    }
  }

  /** Begins the load on all nodes (or these), and resolves when each has written. */
  async load(nodes: readonly string[] = this.nodes): Promise<void> {
    for (const worker of this.#of(nodes)) {
      const { mapping } = await this.host.data<{ mapping: Mapping }>(worker.node, "map", "md0");
      const client = await NbdClient.connect(mapping.uri);
      worker.client = client;
      worker.stop = new AbortController();
      const { signal } = worker.stop;
      const store = {
        read: (offset: number, length: number) => client.read(offset, length),
        write: async (offset: number, data: Buffer) => {
          await pause(PACE_MS);
          await client.write(offset, data);
        },
      };
      const writing = worker.writer.run(store, DEPTH, signal).finally(() => worker.stop.abort());
      worker.running = Promise.all([writing, this.#changeSpares(worker.node, signal)]);
    }
    await this.progress(nodes);
  }

  /** Besides: fio writes at random through a node, and reads what it wrote, for some seconds. Rejects if it finds a fault. */
  async fio(node: string, seconds: number): Promise<void> {
    const { mapping } = await this.host.data<{ mapping: Mapping }>(node, "map", "md0");
    const { exitCode, stdout, stderr } = await runProgram("fio", [
      ...["--name=verify", "--ioengine=nbd", `--uri=${mapping.uri}`, "--rw=randrw", "--bs=4k", "--iodepth=4"],
      ...[
        `--offset=${WRITTEN_BYTES}`,
        `--size=${FIO_BYTES}`,
        "--time_based",
        `--runtime=${seconds}`,
        "--rate_iops=500",
      ],
      ...["--verify=crc32c", "--verify_fatal=1", "--verify_backlog=128", "--verify_state_save=0"],
    ]);
    if (exitCode !== 0) throw new Error(`fio on ${node}: ${stdout}${stderr}`);
  }

  /** Resolves when each node has got so many more writes acknowledged; rejects when one has lost its array. */
  async progress(nodes: readonly string[] = this.nodes, writes = 100): Promise<void> {
    await Promise.all(
      this.#of(nodes).map(async ({ node, writer, running }) => {
        const lost = running.then(() =>
          Promise.reject(new Error(`${node} writes no more:\n${this.#complaints(node)}`)),
        );
        await Promise.race([writer.acknowledged(writer.acknowledgedWrites + writes), lost]);
      }),
    );
  }

  /** What the daemon warned of, for the story of a failure. */
  #complaints(node: string): string {
    const lines = this.host.logOf(node).split("\n");
    return lines
      .filter((line) => /"level":"(warn|error|fatal)"/.test(line))
      .slice(-20)
      .join("\n");
  }

  /** Resolves when each node has written and has said a message since: data and locks both work. */
  async works(nodes: readonly string[] = this.nodes): Promise<void> {
    await this.progress(nodes, 20);
    const said = await Promise.all(nodes.map((node) => this.#said(node)));
    for (const [at, node] of nodes.entries()) {
      while ((await this.#said(node)) === said[at]) await pause(POLL_MS);
    }
  }

  async #said(node: string): Promise<number> {
    const { sent } = await this.host.data<MessagesData>(node, "messages", "md0");
    return Object.values(sent).reduce((sum, count) => sum + count, 0);
  }

  /** Does something to the lock server, and waits until each node has told it again what it holds. */
  async remastering(loseState: () => Promise<unknown>, nodes: readonly string[] = this.nodes): Promise<void> {
    const before = nodes.map((node) => this.#remasterings(node));
    await loseState();
    for (const [at, node] of nodes.entries()) {
      while (this.#remasterings(node) === before[at]) await pause(POLL_MS);
    }
  }

  /** How often the array's lockspace was rebuilt while this daemon was a member. */
  #remasterings(node: string): number {
    const lines = this.host.lives().flatMap(({ life, lines: told }) => (life.startsWith(`${node} `) ? told : []));
    const ofArray = (line: string): boolean => !line.includes('"lockspace":"nodes"');
    return lines.filter((line) => line.includes('"evt":"lockspace.thawed"') && ofArray(line)).length;
  }

  /** What fails in the middle of a fault is tried again: only that it works in the end is asked for, by `settle`. */
  async #changeSpares(node: string, signal: AbortSignal): Promise<void> {
    const spare = this.host.path(`spare-${node}.img`);
    while (!signal.aborted) {
      await this.host.json(node, "add", "md0", spare).catch(() => {});
      await this.host.json(node, "remove", "md0", spare).catch(() => {});
      await pause(PACE_MS);
    }
  }

  /**
   * Ends the load and looks at all that must hold now that the fault is over: no acknowledged write is lost, on whatever
   * node one reads; the mirrors are equal; no bitmap has a bit left; nobody ever held what excludes another's lock; every
   * node calls everything fine.
   */
  async settle(): Promise<void> {
    const { host } = this;
    for (const { stop } of this.#workers) stop.abort();
    await Promise.all(this.#workers.map(({ running }) => running));
    for (const node of this.nodes) await this.#removeSpares(node);
    for (const node of this.nodes) await host.data(node, "wait", "md0");
    for (const node of this.nodes) await this.#clean(node);
    for (const worker of this.#workers) {
      for (const node of this.nodes) {
        const { mapping } = await host.data<{ mapping: Mapping }>(node, "map", "md0");
        const reader = await NbdClient.connect(mapping.uri);
        const { wrong } = await worker.writer.verify(reader);
        await reader.close();
        expect(wrong, `blocks that ${worker.node} wrote, read on ${node}`).toEqual([]);
      }
      await worker.client?.close();
      worker.client = null;
    }
    const array = await this.array(this.nodes[0] ?? "");
    const areas = this.members.map((path) => ({ path, dataOffsetBytes: array.dataOffsetBytes }));
    expect(await firstDifference(areas, array.sizeBytes), "first byte at which the mirrors differ").toBeNull();
    const holds = holdsOf(host.lives().map(lifeTrace));
    expect(conflictsAmong(holds), "two holders at once").toEqual([]);
    expect(holds.length, "the trace tells of locks").toBeGreaterThan(0);
    const { machines, messages } = replayTrace(host.lives().flatMap(machineRecords));
    expect(machines.length, "the trace tells of machines").toBeGreaterThan(0);
    expect(machines.filter(({ broken }) => broken !== null)).toEqual([]);
    expect(messages.wrong).toEqual([]);
    // What is said of a lease that came late, on a busy machine, is true for a moment only.
    const isFine = ({ verdict, advice, arrays }: StatusData): boolean =>
      verdict === "ok" && advice.length === 0 && arrays[0]?.health === "optimal";
    for (const node of this.nodes) await this.until(node, isFine);
  }

  /** The number of the last event in each node's journal. */
  lastEvents(): Promise<readonly number[]> {
    return Promise.all(this.nodes.map((node) => this.host.lastEvent(node)));
  }

  /** Codes of what the journals tell since then, of all nodes. */
  async eventsAfter(since: readonly number[]): Promise<readonly string[]> {
    const told = this.nodes.map((node, at) =>
      this.host.data<{ events: readonly HistoryEvent[] }>(node, "events", `--since=${since[at]}`),
    );
    return (await Promise.all(told)).flatMap(({ events }) => events.map(({ event }) => event));
  }

  array(node: string): Promise<ArrayInfo> {
    return this.host.data<{ array: ArrayInfo }>(node, "detail", "md0").then(({ array }) => array);
  }

  status(node: string): Promise<StatusData> {
    return this.host.data<StatusData>(node, "status");
  }

  /** Until the daemon's own word of itself fits. */
  async until(node: string, fits: (status: StatusData) => boolean): Promise<StatusData> {
    for (;;) {
      const status = await this.status(node);
      if (fits(status)) return status;
      await pause(POLL_MS);
    }
  }

  /** The lockspace of the nodes may still be rebuilt when the array's is back: what is refused meanwhile is asked again. */
  async #removeSpares(node: string): Promise<void> {
    const spare = this.host.path(`spare-${node}.img`);
    for (;;) {
      const { members } = await this.array(node);
      if (!members.some(({ path, role }) => path === spare && role === "spare")) return;
      const { error } = await this.host.json(node, "remove", "md0", spare);
      if (error !== null && error.code !== "E_LOCK_SERVICE_LOST") throw new Error(JSON.stringify(error));
      await pause(POLL_MS);
    }
  }

  /** The bits go a flush period after the last write. */
  async #clean(node: string): Promise<void> {
    for (;;) {
      const { bitmap } = await this.array(node);
      if (bitmap?.unionDirty === 0) return;
      await pause(POLL_MS);
    }
  }

  #of(nodes: readonly string[]): readonly Worker[] {
    return this.#workers.filter(({ node }) => nodes.includes(node));
  }

  async close(): Promise<void> {
    for (const { stop } of this.#workers) stop.abort();
    await this.host.close();
    await Promise.all(this.#workers.map(({ running, client }) => Promise.all([running, client?.close()])));
  }
}
