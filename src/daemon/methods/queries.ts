import { MdError } from "../../base/md-error.ts";
import { prometheusText } from "../../metrics/prometheus-text.ts";
import { CONTROL_API_VERSION, type HistoryEvent } from "../control-api.ts";
import { describeArray, describeStatus } from "../describe.ts";
import { describeClusterStatus } from "../describe-cluster.ts";
import { describeNodes } from "../describe-nodes.ts";
import { findArray } from "../find-array.ts";
import { locksData } from "../locks-data.ts";
import { messagesData } from "../messages-data.ts";
import { nodeMetrics } from "../node-metrics.ts";
import { programVersion } from "../version.ts";
import { type Method, noParams } from "./method.ts";

export const ping: Method<"ping"> = {
  read: noParams,
  run: async (_params, { daemon }) => ({
    apiVersion: CONTROL_API_VERSION,
    version: programVersion(),
    node: daemon.config.node,
    cluster: daemon.config.cluster,
    pid: process.pid,
    startedAt: daemon.startedAt,
    fileMembers: daemon.config.fileMembers,
    lockServer: daemon.lockServer,
  }),
};

export const status: Method<"status"> = {
  read: noParams,
  run: (_params, { daemon }) => describeStatus(daemon),
};

export const detail: Method<"detail"> = {
  read: (reader) => ({ array: reader.textOrNull("array") }),
  run: async ({ array }, { daemon, warn }) => ({
    array: await describeArray(daemon, findArray(daemon, array, warn), true),
  }),
};

export const list: Method<"list"> = {
  read: noParams,
  run: async (_params, { daemon }) => ({
    mappings: daemon.sessions.flatMap((session) => {
      const { mapping } = session;
      return mapping === null ? [] : [{ ...mapping, array: session.name, sizeBytes: session.status().size * 512 }];
    }),
  }),
};

export const nodes: Method<"nodes"> = {
  read: noParams,
  run: async (_params, { daemon }) => ({ nodes: describeNodes(daemon) }),
};

export const clusterStatus: Method<"clusterStatus"> = {
  read: noParams,
  run: async (_params, { daemon }) => describeClusterStatus(daemon, describeNodes(daemon)),
};

export const locks: Method<"locks"> = {
  read: (reader) => ({ array: reader.textOrNull("array") }),
  run: async ({ array }, { daemon, warn }) => {
    const session = findArray(daemon, array, warn);
    const dump = await session.node.locks();
    const { slots, frozen } = session.status();
    const gone = slots.flatMap(({ slot, node, state }) =>
      state === "recovering" && node !== null ? [[slot, node] as const] : [],
    );
    const notes = describeNodes(daemon).flatMap(({ name, note }) => (note === null ? [] : [[name, note] as const]));
    return locksData(session.name, dump, {
      now: daemon.env.clock.now(),
      notes: new Map(notes),
      dead: new Map(gone),
      frozen,
    });
  },
};

export const messages: Method<"messages"> = {
  read: (reader) => ({ array: reader.textOrNull("array") }),
  run: async ({ array }, { daemon, warn }) => {
    const session = findArray(daemon, array, warn);
    const { messages: statistics, slots } = session.status();
    return messagesData(session.name, statistics, slots);
  },
};

export const events: Method<"events"> = {
  read: (reader) => ({
    array: reader.textOrNull("array"),
    since: reader.count("since", 0, Number.MAX_SAFE_INTEGER),
    follow: reader.flag("follow"),
  }),
  run: async ({ array, since, follow }, { daemon, emit, signal }) => {
    const past = daemon.journal.read(array, since);
    if (!follow) return { events: past };
    const told = (event: HistoryEvent): void => {
      if (array === null || event.array === array) emit(event);
    };
    for (const event of past) told(event);
    const stop = daemon.journal.follow(told);
    await aborted(signal);
    stop();
    return { events: [] };
  },
};

export const metrics: Method<"metrics"> = {
  read: noParams,
  run: async (_params, { daemon }) => ({
    text: prometheusText(nodeMetrics(await describeStatus(daemon), programVersion())),
  }),
};

export const opList: Method<"opList"> = {
  read: noParams,
  run: async (_params, { daemon }) => ({ operations: daemon.operations.list() }),
};

export const opShow: Method<"opShow"> = {
  read: (reader) => ({ id: reader.text("id") }),
  run: async ({ id }, { daemon }) => {
    const operation = daemon.operations.get(id);
    if (operation === null) throw new MdError("E_VALUE", `there is no operation ${id}`, { hint: "mdctl op list" });
    return { operation };
  },
};

export const aborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
