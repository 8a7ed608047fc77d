import { MdError } from "../../base/md-error.ts";
import type { Command } from "../command.ts";
import { parseRate } from "../parse-size.ts";

const words = ["idle", "frozen", "check", "repair"];

/** Sets how fast this node may copy; the actions themselves are refused until there are some. */
export const action: Command = async (invocation, context) => {
  const { operands } = invocation;
  const given = operands.filter((word) => words.includes(word));
  if (given.length > 0) throw new MdError("E_USAGE", `action ${given[0]} is not available in this version`);
  const limit = invocation.value("limit");
  if (limit === null)
    throw new MdError("E_USAGE", "action is not told what to do", { hint: "mdctl action --limit=20M" });
  if (operands.length > 1) throw new MdError("E_USAGE", `action takes one array, not ${operands.length}`);
  const limitKib = limit === "max" ? 0 : Math.max(1, Math.floor(parseRate("limit", limit) / 1024));
  const { data } = await context.request("action", { array: operands[0] ?? null, limitKib });
  context.note(
    `resync of ${data.array} may copy ${limitKib === 0 ? "as fast as it can" : `${limitKib} KiB per second`} on this node`,
  );
  return { data, text: "" };
};
