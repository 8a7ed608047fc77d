import { MdError } from "../../base/md-error.ts";
import type { Operation } from "../../daemon/control-api.ts";
import type { Command } from "../command.ts";
import { plainTable, table } from "../render/table.ts";

export const op: Command = async ({ operands }, context) => {
  const [action = "list", id, extra] = operands;
  if (extra === undefined && action === "list" && id === undefined) {
    const { data } = await context.request("opList", {});
    const rows = data.operations.map(rowOf);
    return { data, text: table(heading, rows), plain: plainTable(rows) };
  }
  if (extra === undefined && action === "show" && id !== undefined) {
    const { data } = await context.request("opShow", { id });
    return { data, text: table(heading, [rowOf(data.operation)]) };
  }
  throw new MdError("E_USAGE", `op ${operands.join(" ")} is not available`, { hint: "mdctl op list" });
};

const heading = ["ID", "STATE", "STARTED", "COMMAND", "RESULT"];
const rowOf = ({ id, state, startedAt, command, result }: Operation): string[] => [
  ...[id, state, startedAt, command],
  result === null ? "-" : `${result.code}: ${result.message}`,
];
