import { arrayInfo } from "./array-info.ts";
import type { ArraySession } from "./array-session.ts";
import type { ArrayInfo, ClusterSummary, NodeInfo, StatusData } from "./control-api.ts";
import { CONTROL_API_VERSION } from "./control-api.ts";
import type { Daemon } from "./daemon.ts";
import { adviceFor, verdictOf } from "./status-data.ts";
import { programVersion } from "./version.ts";

const VERSION = programVersion();

/** Every node that this one knows of: the daemons of the cluster, and who has a slot of one of our arrays. */
export function describeNodes(daemon: Daemon): readonly NodeInfo[] {
  const { node: self } = daemon.config;
  const now = daemon.env.clock.now();
  const known = new Map(daemon.membership.nodes.map((node) => [node.name, node]));
  const names = new Set([self, ...known.keys()]);
  const statuses = daemon.sessions.map((session) => ({ session, status: session.status() }));
  for (const { status } of statuses) for (const { node } of status.slots) if (node !== null) names.add(node);

  const nodes = [...names].map((name): NodeInfo => {
    const member = known.get(name);
    const slots = statuses.flatMap(({ session, status }) =>
      status.slots.filter((slot) => slot.node === name).map((slot) => ({ array: session.name, slot })),
    );
    const isSelf = name === self;
    const recovering = slots.some(({ slot }) => slot.state === "recovering");
    const down = !isSelf && (member?.state === "down" || (recovering && member?.state !== "up"));
    const since = member?.downSince ?? null;
    return {
      name,
      slot: slots[0]?.slot.slot ?? null,
      state: down ? "down" : "up",
      lastSeenSeconds: isSelf ? 0 : since === null ? null : Math.round((now - since) / 100) / 10,
      rttMillis: null,
      protocol: isSelf ? CONTROL_API_VERSION : null,
      version: isSelf ? VERSION : null,
      frozen: isSelf && !daemon.lockServiceReachable,
      frozenWhy: isSelf && !daemon.lockServiceReachable ? "the lock service does not answer" : null,
      arrays: slots.map(({ array }) => array),
    };
  });
  return nodes.sort((a, b) => (a.slot ?? 999) - (b.slot ?? 999) || a.name.localeCompare(b.name));
}

export function describeCluster(daemon: Daemon, nodes: readonly NodeInfo[]): ClusterSummary {
  return {
    name: daemon.config.cluster,
    quorum: daemon.lockServiceReachable,
    nodesUp: nodes.filter(({ state }) => state === "up").length,
    nodesTotal: nodes.length,
    lockService: daemon.lockServiceReachable ? "ok" : "lost",
    lockServer: daemon.lockServer,
  };
}

/** `fresh` reads the bitmaps from disk, as `detail` does. */
export async function describeArray(daemon: Daemon, session: ArraySession, fresh: boolean): Promise<ArrayInfo> {
  const examination = fresh ? await session.examineMember() : null;
  if (fresh) await session.learnMembers();
  const { syncSpeedMax } = daemon.config;
  const syncLimit = syncSpeedMax === 0 ? null : syncSpeedMax * 1024;
  return arrayInfo(session, { nodes: nodesOf(daemon, session), examination, syncLimit });
}

/** Those that have a slot of this array. */
function nodesOf(daemon: Daemon, session: ArraySession): readonly NodeInfo[] {
  const slots = new Map(
    session.status().slots.flatMap(({ node, slot }) => (node === null ? [] : [[node, slot] as const])),
  );
  return describeNodes(daemon)
    .filter(({ name }) => slots.has(name))
    .map((node) => ({ ...node, slot: slots.get(node.name) ?? null }));
}

export async function describeStatus(daemon: Daemon): Promise<StatusData> {
  const nodes = describeNodes(daemon);
  const cluster = describeCluster(daemon, nodes);
  const arrays = await Promise.all(daemon.sessions.map((session) => describeArray(daemon, session, false)));
  return {
    verdict: verdictOf(arrays, nodes, daemon),
    node: daemon.config.node,
    cluster,
    arrays,
    nodes,
    operations: daemon.operations.running(),
    advice: adviceFor(arrays, cluster, daemon.lostArrays),
  };
}
