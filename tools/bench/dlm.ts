/**
 * What a lock operation and a message cost on a lock server of one's own on the loopback, beside the cheapest call that
 * the same server answers, in turns in the same run. Redis: FCALL of a function of one line. Embedded: hello for a
 * lockspace that does not exist.
 *
 *   --nodes=2,4,8,16 --operations=300 --messages=150 --servers=redis,embedded
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import { parseArgs } from "node:util";
import type { Env } from "../../src/env/env.ts";
import { silentLogger } from "../../src/env/logger.ts";
import { realEnv } from "../../src/env/real-env.ts";
import { type BenchedNode, type BenchedNodes, createLockspace, joinNodes } from "./lock-nodes.ts";
import { type BenchedServer, embeddedServer, redisServer } from "./lock-servers.ts";
import { MessagePath } from "./message-path.ts";
import { machine, median, percentile, type Report, type Row } from "./report.ts";

/** Messages of which the path and the bytes are read; these are exact, not noisy. */
const SAMPLE = 20;

interface Options {
  readonly nodes: readonly number[];
  readonly operations: number;
  readonly messages: number;
  readonly servers: readonly string[];
}

interface Collected {
  readonly env: Env;
  readonly options: Options;
  readonly rows: Row[];
  readonly ratios: Record<string, number>;
  readonly progress: (text: string) => void;
}

const makers: Readonly<Record<string, (env: Env) => Promise<BenchedServer>>> = {
  redis: redisServer,
  embedded: embeddedServer,
};

export async function run(progress: (text: string) => void, flags: readonly string[]): Promise<Report> {
  const options = parseFlags(flags);
  const out: Collected = { env: realEnv(silentLogger), options, rows: [], ratios: {}, progress };
  for (const name of options.servers) {
    const server = await makers[name]?.(out.env);
    if (server === undefined) throw new Error(`no such lock server: ${name}`);
    try {
      await createLockspace(out.env, (node) => server.connect(node));
      for (const count of options.nodes) await measureCluster(server, count, out);
    } finally {
      await server.stop();
    }
  }
  return { name: "dlm", machine: machine(), rows: out.rows, ratios: out.ratios };
}

function parseFlags(flags: readonly string[]): Options {
  const { values } = parseArgs({
    args: [...flags],
    options: {
      nodes: { type: "string", default: "2,4,8,16" },
      operations: { type: "string", default: "300" },
      messages: { type: "string", default: "150" },
      servers: { type: "string", default: "redis,embedded" },
    },
  });
  const positive = (text: string): number => {
    const value = Number(text);
    if (!Number.isSafeInteger(value) || value < 1) throw new Error(`${text} is not a number of at least 1`);
    return value;
  };
  return {
    nodes: values.nodes.split(",").map(positive),
    operations: positive(values.operations),
    messages: positive(values.messages),
    servers: values.servers.split(","),
  };
}

async function measureCluster(server: BenchedServer, count: number, out: Collected): Promise<void> {
  const subject = `${server.name} ${count} nodes`;
  const add = (name: string, value: number, unit: string): void => {
    out.rows.push({ case: name, subject, value, unit });
  };
  const path = new MessagePath();
  const timed = await joinNodes(out.env, count, (node) => server.connect(node));
  try {
    const locks = await timeLocks(server, timed, out.options.operations);
    for (const [name, values] of Object.entries(locks)) {
      add(`${name}_p50`, median(values), "ms");
      add(`${name}_p99`, percentile(values, 0.99), "ms");
    }
    if (count === 4 || out.options.nodes.length === 1) {
      out.ratios[`${server.name}_lock_over_bare_call_p50`] = median(locks.lock) / median(locks.bare_call);
      out.ratios[`${server.name}_convert_over_bare_call_p50`] = median(locks.convert) / median(locks.bare_call);
    }
    const { latencies, perSecond } = await timeMessages(timed, out.options.messages);
    add("message_p50", median(latencies), "ms");
    add("message_p99", percentile(latencies, 0.99), "ms");
    add("messages", perSecond, "1/s");
    out.ratios[`${server.name}_message${count}_p50_ms`] = median(latencies);
    out.progress(`${subject}: lock ${median(locks.lock).toFixed(3)} ms, bare ${median(locks.bare_call).toFixed(3)} ms, \
message ${median(latencies).toFixed(3)} ms`);
  } finally {
    await timed.leave();
  }
  const counted = await joinNodes(out.env, count, async (node) =>
    path.observe(node, await server.connectCounted(node)),
  );
  try {
    const before = { calls: path.calls, bytes: server.countedBytes() };
    const roundTrips = await followMessages(counted, path);
    add("message_round_trips", percentile(roundTrips, 1), "on the sender's path, at most");
    add("message_calls", (path.calls - before.calls) / SAMPLE, "of all nodes");
    add("message_bytes", (server.countedBytes() - before.bytes) / SAMPLE, "bytes of all nodes");
    out.ratios[`${server.name}_message${count}_round_trips`] = percentile(roundTrips, 1);
  } finally {
    await counted.leave();
  }
}

/** lock: a lock that nobody holds, NL to EX. convert: the way back. open: a new resource and our lock on it. */
async function timeLocks(
  server: BenchedServer,
  { nodes: [node] }: BenchedNodes,
  operations: number,
): Promise<Record<"bare_call" | "open" | "lock" | "convert", number[]>> {
  const times = { bare_call: [], open: [], lock: [], convert: [] } as Record<string, number[]>;
  if (node === undefined) throw new Error("no node");
  const time = async <T>(name: string, action: () => Promise<T>): Promise<T> => {
    const since = performance.now();
    const result = await action();
    times[name]?.push(performance.now() - since);
    return result;
  };
  for (let i = -20; i < operations; i++) {
    if (i === 0) for (const values of Object.values(times)) values.length = 0; // warm
    await time("bare_call", () => server.bareCall());
    const lock = await time("open", () => node.lockspace.open(`bench-${i + 20}`, { lvb: true }));
    await time("bare_call", () => server.bareCall());
    await time("lock", () => lock.convert("EX"));
    await time("bare_call", () => server.bareCall());
    await time("convert", () => lock.convert("NL", { lvb: new Uint8Array(64) }));
    await lock.close();
  }
  return times as Record<"bare_call" | "open" | "lock" | "convert", number[]>;
}

const say = ({ bus, lockspace }: BenchedNode): Promise<void> =>
  bus.send(() => ({ type: "resyncing_start", from: lockspace.slot }));

/** One message after the other from one node: the next is asked for as soon as all have acknowledged the last. */
async function timeMessages(
  { nodes }: BenchedNodes,
  messages: number,
): Promise<{ readonly latencies: number[]; readonly perSecond: number }> {
  const [sender] = nodes;
  if (sender === undefined) throw new Error("no node");
  for (let i = 0; i < 20; i++) await say(sender);
  await allAtRest(nodes);
  const latencies: number[] = [];
  const since = performance.now();
  for (let i = 0; i < messages; i++) {
    const asked = performance.now();
    await say(sender);
    latencies.push(performance.now() - asked);
  }
  await allAtRest(nodes);
  return { latencies, perSecond: messages / ((performance.now() - since) / 1000) };
}

async function followMessages({ nodes }: BenchedNodes, path: MessagePath): Promise<number[]> {
  const [sender] = nodes;
  if (sender === undefined) throw new Error("no node");
  for (let i = 0; i < SAMPLE; i++) {
    await allAtRest(nodes);
    path.start();
    await say(sender);
    path.end(sender.name);
  }
  await allAtRest(nodes);
  return path.roundTrips();
}

/** Every node has heard the end of the last message. */
async function allAtRest(nodes: readonly BenchedNode[]): Promise<void> {
  const resting = ({ bus: { phase } }: BenchedNode): boolean =>
    phase.sending === "idle" && phase.receiving === "listening";
  while (!nodes.every(resting)) await nextTurn();
}
