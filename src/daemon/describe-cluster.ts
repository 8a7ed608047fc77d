import type { ClusterStatusData, ClusterSummary, LockServiceInfo, LockspaceInfo, NodeInfo } from "./control-api.ts";
import type { Daemon } from "./daemon.ts";
import { LEASE_ONLY } from "./describe-nodes.ts";
import type { LockspaceView } from "./frozen-info.ts";
import { CLUSTER_PROTOCOL } from "./node-card.ts";

export function describeCluster(daemon: Daemon, nodes: readonly NodeInfo[]): ClusterSummary {
  const service = describeLockService(daemon);
  return {
    name: daemon.config.cluster,
    quorum: service.reachable && service.frozen?.writesWait !== true,
    nodesUp: nodes.filter(({ state }) => state === "up").length,
    nodesTotal: nodes.length,
    lockService: service.frozen === null ? "ok" : "lost",
    lockServer: service.address,
    service,
  };
}

export function describeClusterStatus(daemon: Daemon, nodes: readonly NodeInfo[]): ClusterStatusData {
  const now = daemon.env.clock.now();
  const protocols = nodes.flatMap(({ protocol }) => protocol ?? []);
  const methods = daemon.fencingMethods;
  return {
    cluster: describeCluster(daemon, nodes),
    nodes,
    lockspaces: daemon.lockspaces.map((view) => lockspaceInfo(view, now)),
    fencing: { methods: methods ?? LEASE_ONLY, leaseOnly: daemon.fencing.isLeaseOnly },
    protocol: {
      own: CLUSTER_PROTOCOL,
      lowest: least(protocols),
      highest: least(
        protocols.map((n) => -n),
        -1,
      ),
    },
  };
}

const least = (numbers: readonly number[], sign = 1): number | null =>
  numbers.length === 0 ? null : sign * Math.min(...numbers);

function describeLockService(daemon: Daemon): LockServiceInfo {
  const { lockspaces, config, env } = daemon;
  const statuses = lockspaces.map(({ status }) => status);
  const renewedAt = Math.max(...statuses.map((status) => status.renewedAt));
  const newest = statuses.find((status) => status.renewedAt === renewedAt);
  return {
    kind: config.lockServer.type === "redis" ? "redis" : "embedded",
    address: daemon.lockServer,
    reachable: daemon.lockService.lostAt === null,
    lastContactSeconds: newest === undefined ? null : tenths(env.clock.now() - renewedAt),
    roundTripMillis: newest?.roundTripMs == null ? null : Math.round(newest.roundTripMs * 10) / 10,
    frozen: daemon.frozen(),
  };
}

export function lockspaceInfo({ array, status, frozen }: LockspaceView, now: number): LockspaceInfo {
  return {
    array,
    epoch: status.epoch,
    generation: status.generation,
    members: status.members.map(({ node }) => node),
    writeSeconds: tenths(Math.max(0, status.writeUntil - now)),
    remastering:
      frozen === null
        ? null
        : {
            reason: frozen.reason,
            sinceSeconds: tenths(now - frozen.since),
            reported: frozen.reported,
            missing: frozen.missing,
            limitSeconds: frozen.deadline === null ? null : tenths(Math.max(0, frozen.deadline - now)),
            conflicts: frozen.conflicts.map(({ resource, locks }) => ({
              resource,
              holders: locks.map(({ node, mode }) => ({ node, mode })),
            })),
          },
  };
}

const tenths = (ms: number): number => Math.round(ms / 100) / 10;
