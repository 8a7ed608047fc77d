import type { Command } from "../command.ts";

export const ping: Command = async (_invocation, context) => {
  const { data } = await context.request("ping", {});
  const { node, cluster, version, pid, lockServer } = data;
  const text = `node ${node} of cluster ${cluster}, mdctl ${version}, pid ${pid}, lock server ${lockServer}\n`;
  return { data, text };
};
