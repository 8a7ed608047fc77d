import { MdError } from "../../base/md-error.ts";
import type { Note } from "../../daemon/control-api.ts";
import type { Command } from "../command.ts";
import { clusterExit, clusterText } from "../render/cluster-text.ts";

const leaseOnly = (nodes: readonly string[]): Note => ({
  code: "N_LEASE_ONLY",
  message: `${nodes.join(", ")}: protected by the lease only; a write that the storage holds back for too long can land after a takeover`,
  hint: "docs/fencing.md",
});

/** Exit 0 healthy, 1 degraded, 7 without the lock service. */
export const cluster: Command = async ({ operands }, context) => {
  const [action, extra] = operands;
  if ((action !== undefined && action !== "status") || extra !== undefined) {
    throw new MdError("E_USAGE", `cluster ${operands.join(" ")} is not available`, { hint: "mdctl cluster status" });
  }
  const { data } = await context.request("clusterStatus", {});
  const warnings = data.fencing.leaseOnly ? [leaseOnly(data.nodes.map(({ name }) => name))] : [];
  return { data, text: clusterText(data), exitCode: clusterExit(data), warnings };
};
