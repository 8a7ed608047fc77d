import { MdError } from "../../base/md-error.ts";
import type { Command } from "../command.ts";
import { arrayOperand } from "./array-operand.ts";

/** The answer is where it is exported, and nothing else: it goes into scripts. */
export const map: Command = async (invocation, context) => {
  const frontend = invocation.value("frontend") ?? "auto";
  if (!["auto", "nbd"].includes(frontend))
    throw new MdError("E_VALUE", `frontend: ${frontend} is not available; nbd is`);
  const { data } = await context.request("map", {
    array: arrayOperand(invocation),
    readOnly: invocation.has("readonly"),
    listen: invocation.value("listen"),
  });
  return { data, text: `${data.mapping.device}\n` };
};
