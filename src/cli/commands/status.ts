import type { StatusData } from "../../daemon/control-api.ts";
import { parseDuration } from "../../daemon/parse-duration.ts";
import type { Command, CommandContext, CommandResult } from "../command.ts";
import { healthExit } from "../health-exit.ts";
import type { Invocation } from "../invocation.ts";
import { statusText } from "../render/status-text.ts";

export const status: Command = async (invocation, context) => {
  if (invocation.has("watch")) return watch(invocation, context);
  const { data } = await context.request("status", {});
  const quiet = invocation.has("problems") && data.verdict === "ok";
  return {
    data,
    text: quiet ? "" : statusText(data),
    exitCode: invocation.has("test") ? healthExit(data.arrays) : 0,
  };
};

/** Until interrupted: a block of text, or a document, for every change. */
async function watch(invocation: Invocation, context: CommandContext): Promise<CommandResult> {
  const text = invocation.value("watch");
  const intervalSeconds = text === null ? 1 : parseDuration("watch", text) / 1000;
  const show = (data: StatusData): void => {
    if (context.json) context.printDocument("status", data);
    else context.print(`${statusText(data)}\n`);
  };
  await context.request("watch", { intervalSeconds }, { onEvent: show });
  return { data: null, text: "", streamed: true };
}
