import { MdError } from "../../base/md-error.ts";
import type { Command } from "../command.ts";
import { nodeRows } from "../render/node-rows.ts";
import { plainTable, table } from "../render/table.ts";

export const node: Command = async ({ operands }, context) => {
  const [action, extra] = operands;
  if ((action !== undefined && action !== "list") || extra !== undefined) {
    throw new MdError("E_USAGE", `node ${operands.join(" ")} is not available`, { hint: "mdctl node list" });
  }
  const { data } = await context.request("nodes", {});
  const { heading, rows, numbers } = nodeRows(data.nodes);
  return { data, text: table(heading, rows, numbers), plain: plainTable(rows) };
};
