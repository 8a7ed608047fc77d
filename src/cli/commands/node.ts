import { MdError } from "../../base/md-error.ts";
import type { Command, CommandContext, CommandResult } from "../command.ts";
import type { Invocation } from "../invocation.ts";
import { nodeRows } from "../render/node-rows.ts";
import { plainTable, table } from "../render/table.ts";

export const node: Command = async (invocation, context) => {
  const [action = "list", name, extra] = invocation.operands;
  if (action === "evict" && extra === undefined) return evict(name ?? null, invocation, context);
  if (action === "list" && name === undefined) return list(context);
  throw new MdError("E_USAGE", `node ${invocation.operands.join(" ")} is not available`, { hint: "mdctl node --help" });
};

async function list(context: CommandContext): Promise<CommandResult> {
  const { data } = await context.request("nodes", {});
  const { heading, rows, numbers } = nodeRows(data.nodes);
  return { data, text: table(heading, rows, numbers), plain: plainTable(rows) };
}

async function evict(name: string | null, invocation: Invocation, context: CommandContext): Promise<CommandResult> {
  if (name === null) throw new MdError("E_USAGE", "node evict needs the name of a node", { hint: "mdctl node list" });
  const confirmDead = invocation.has("confirm-dead");
  const command = `mdctl node evict ${name}${confirmDead ? " --confirm-dead" : ""}`;
  if (confirmDead) {
    context.note(`if ${name} can still write, evicting it destroys data: be sure that it is switched off or cut off`);
  }
  await context.confirm(name, `evicting ${name}, whose locks and unfinished writes go to the other nodes`, command);
  if (!confirmDead) context.note(`waiting until the lease of ${name} has surely expired`);
  const { data } = await context.request("nodeEvict", { node: name, confirmDead });
  const where = data.evicted.map(({ array }) => array ?? "the list of nodes").join(", ");
  context.note(where === "" ? `${name} is no member any more` : `evicted ${name} from ${where}`);
  return { data, text: "" };
}
