import type { Command } from "../command.ts";

export const metrics: Command = async (_invocation, context) => {
  const { data } = await context.request("metrics", {});
  return { data, text: data.text };
};
