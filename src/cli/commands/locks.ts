import type { Command } from "../command.ts";
import { locksText } from "../render/locks-text.ts";
import { arrayOperand } from "./array-operand.ts";

export const locks: Command = async (invocation, context) => {
  const { data } = await context.request("locks", { array: arrayOperand(invocation) });
  return { data, text: locksText(data) };
};
