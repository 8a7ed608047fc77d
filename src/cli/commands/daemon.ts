import { MdError } from "../../base/md-error.ts";
import { daemonOptions } from "../../daemon/daemon-options.ts";
import { runDaemon } from "../../daemon/run-daemon.ts";
import type { Command } from "../command.ts";

/** `mdctl daemon`: what `mdctld` does. */
export const daemon: Command = async (invocation) => {
  const [extra] = invocation.operands;
  if (extra !== undefined)
    throw new MdError("E_USAGE", `daemon does not take "${extra}"`, { hint: "mdctl daemon --help" });
  const settings = new Map<string, string | true>();
  for (const { name, value } of daemonOptions) {
    if (invocation.has(name)) settings.set(name, value === undefined ? true : (invocation.value(name) ?? ""));
  }
  await runDaemon(settings, process.env);
  return { data: null, text: "", streamed: true };
};
