import { MdError } from "../../base/md-error.ts";
import type { Command } from "../command.ts";
import { arrayOperand } from "./array-operand.ts";

export const unmap: Command = async (invocation, context) => {
  const target = arrayOperand(invocation);
  if (target === null) throw new MdError("E_USAGE", "unmap needs an array or what map printed", { hint: "mdctl list" });
  const { data } = await context.request("unmap", { target, force: invocation.has("force") });
  context.note(`unmapped ${data.array}`);
  return { data, text: "" };
};
