import { frontendOf } from "../../daemon/frontend-param.ts";
import type { Command } from "../command.ts";
import { parseCount } from "../parse-size.ts";
import { arrayOperand } from "./array-operand.ts";

/** The answer is where it is exported, and nothing else: it goes into scripts. */
export const map: Command = async (invocation, context) => {
  const count = (option: string, most: number): number | null => {
    const text = invocation.value(option);
    return text === null ? null : parseCount(option, text, 1, most);
  };
  const { data } = await context.request("map", {
    array: arrayOperand(invocation),
    frontend: frontendOf(invocation.value("frontend")),
    queues: count("queues", 16),
    depth: count("depth", 4096),
    recover: invocation.has("recover"),
    readOnly: invocation.has("readonly"),
    listen: invocation.value("listen"),
  });
  return { data, text: `${data.mapping.device}\n` };
};
