import type { Access } from "../../daemon/control-api.ts";
import type { Command, CommandContext } from "../command.ts";
import type { Invocation } from "../invocation.ts";
import { arrayOperand } from "./array-operand.ts";

const told: Readonly<Record<Access, string>> = {
  readonly: "is read-only on this node",
  "read-auto": "is read-only on this node until the first write",
  "read-write": "is read-write on this node",
};

export const readonly: Command = (invocation, context) =>
  setAccess(invocation, context, invocation.has("auto") ? "read-auto" : "readonly");

export const readwrite: Command = (invocation, context) => setAccess(invocation, context, "read-write");

async function setAccess(invocation: Invocation, context: CommandContext, access: Access) {
  const { data } = await context.request("access", { array: arrayOperand(invocation), access });
  context.note(`${data.array} ${told[access]}`);
  return { data, text: "" };
}
