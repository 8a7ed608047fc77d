import { MdError } from "../../base/md-error.ts";
import type { Command } from "../command.ts";
import { nodeRows } from "../render/node-rows.ts";
import { table } from "../render/table.ts";

const EXIT_NO_QUORUM = 7;

/** Exit 0 healthy, 1 degraded, 7 without the lock service. */
export const cluster: Command = async ({ operands }, context) => {
  const [action, extra] = operands;
  if ((action !== undefined && action !== "status") || extra !== undefined) {
    throw new MdError("E_USAGE", `cluster ${operands.join(" ")} is not available`, { hint: "mdctl cluster status" });
  }
  const { data } = await context.request("clusterStatus", {});
  const { name, nodesUp, nodesTotal, lockService, lockServer } = data.cluster;
  const { heading, rows } = nodeRows(data.nodes);
  const first = `cluster ${name}: ${nodesUp} of ${nodesTotal} nodes, lock service ${lockService} (${lockServer})\n`;
  const exitCode = lockService === "lost" ? EXIT_NO_QUORUM : nodesUp < nodesTotal ? 1 : 0;
  return { data, text: first + table(heading, rows), exitCode };
};
