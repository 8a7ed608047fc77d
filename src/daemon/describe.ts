import { arrayInfo } from "./array-info.ts";
import type { ArraySession } from "./array-session.ts";
import type { ArrayInfo, NodeInfo, StatusData } from "./control-api.ts";
import type { Daemon } from "./daemon.ts";
import { describeCluster } from "./describe-cluster.ts";
import { describeNodes } from "./describe-nodes.ts";
import { adviceFor, verdictOf } from "./status-data.ts";

/** `fresh` reads the bitmaps from disk, as `detail` does. */
export async function describeArray(daemon: Daemon, session: ArraySession, fresh: boolean): Promise<ArrayInfo> {
  const examination = fresh ? await session.examineMember() : null;
  if (fresh) await session.learnMembers();
  return arrayInfo(session, { nodes: nodesOf(daemon, session), examination, frozen: daemon.frozen(session) });
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
    verdict: verdictOf(arrays, nodes, cluster.service.frozen, daemon.lostArrays),
    node: daemon.config.node,
    cluster,
    arrays,
    nodes,
    operations: daemon.operations.running(),
    advice: adviceFor(arrays, cluster, daemon.lostArrays),
  };
}
