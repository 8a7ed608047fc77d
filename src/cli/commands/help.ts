import { MdError } from "../../base/md-error.ts";
import type { Command } from "../command.ts";
import { generalHelp, verbHelp } from "../help.ts";
import { verbNamed } from "../options/verbs.ts";

export const help: Command = async ({ operands }) => {
  const [topic] = operands;
  const verb = topic === undefined ? null : verbNamed(topic);
  if (topic !== undefined && verb === null)
    throw new MdError("E_USAGE", `unknown verb "${topic}"`, { hint: "mdctl --help" });
  const text = verb === null ? generalHelp() : await verbHelp(verb);
  return { data: { text }, text };
};
