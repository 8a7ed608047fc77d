import type { Command } from "../command.ts";
import { mdstatText } from "../render/mdstat-text.ts";

export const mdstat: Command = async (_invocation, context) => {
  const { data } = await context.request("status", {});
  const text = mdstatText(data.arrays);
  return { data: { text }, text };
};
