import { MdError } from "../../base/md-error.ts";
import type { Command, CommandContext, CommandResult } from "../command.ts";
import type { Invocation } from "../invocation.ts";
import { nodeRows } from "../render/node-rows.ts";
import { plainTable, table } from "../render/table.ts";

export const node: Command = async (invocation, context) => {
  const [action = "list", name, extra] = invocation.operands;
  if (action === "evict" && extra === undefined) return evict(name ?? null, invocation, context);
  if (action === "drain" && extra === undefined) return drain(name ?? null, context);
  if (action === "list" && name === undefined) return list(context);
  throw new MdError("E_USAGE", `node ${invocation.operands.join(" ")} is not available`, { hint: "mdctl node --help" });
};

async function list(context: CommandContext): Promise<CommandResult> {
  const { data } = await context.request("nodes", {});
  const { heading, rows, numbers } = nodeRows(data.nodes);
  return { data, text: table(heading, rows, numbers), plain: plainTable(rows) };
}

async function drain(name: string | null, context: CommandContext): Promise<CommandResult> {
  if (name === null) throw new MdError("E_USAGE", "node drain needs the name of the node", { hint: "mdctl node list" });
  const { data } = await context.request("nodeDrain", { node: name });
  for (const array of data.arrays) {
    const how = array.moved ? ", another node goes on with its resync" : "";
    if (array.stopped) context.note(`stopped ${array.name}${how}`);
  }
  const [failed] = data.arrays.flatMap(({ error }) => error ?? []);
  if (failed !== undefined) {
    throw new MdError("E_PARTIAL", `${name} is not drained: ${failed.message}`, { details: { data } });
  }
  context.note(`${name} has left the cluster; its daemon takes arrays again when it is restarted`);
  return { data, text: "" };
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
