import { sleep } from "../../env/clock.ts";
import type { NodeInfo, StatusData } from "../control-api.ts";
import { describeStatus } from "../describe.ts";
import type { Method } from "./method.ts";

/** Milliseconds: no client makes the daemon look more often. */
const SHORTEST = 100;

/** Sends the status at once, and from then on whenever it is not what was sent last. */
export const watch: Method<"watch"> = {
  read: (reader) => ({ intervalSeconds: reader.quantity("intervalSeconds", 0, 3600) }),
  run: async ({ intervalSeconds }, { daemon, emit, signal }) => {
    let last = "";
    while (!signal.aborted) {
      const status = await describeStatus(daemon);
      const text = newsOf(status);
      if (text !== last) emit(status);
      last = text;
      await sleep(daemon.env.clock, Math.max(SHORTEST, intervalSeconds * 1000), signal);
    }
    return null;
  },
};

/** Ages that grow while nothing happens are no news. */
function newsOf(status: StatusData): string {
  const { service } = status.cluster;
  const quiet = ({ nodes }: { readonly nodes: readonly NodeInfo[] }): readonly NodeInfo[] =>
    nodes.map((node) => (node.state === "up" ? { ...node, lastSeenSeconds: null } : node));
  return JSON.stringify({
    ...status,
    nodes: quiet(status),
    arrays: status.arrays.map((array) => ({ ...array, nodes: quiet(array) })),
    cluster: { ...status.cluster, service: { ...service, lastContactSeconds: null, roundTripMillis: null } },
  });
}
