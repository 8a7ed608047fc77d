import type { HistoryEvent } from "../../daemon/control-api.ts";
import type { Command } from "../command.ts";
import { parseCount } from "../parse-size.ts";
import { eventLine } from "../render/event-line.ts";

/** With --json one document a line, as for every stream. */
export const events: Command = async (invocation, context) => {
  const since = parseCount("since", invocation.value("since") ?? "0", 0, Number.MAX_SAFE_INTEGER);
  const array = invocation.value("array");
  const tell = (event: HistoryEvent): void => {
    if (context.json) context.printDocument("event", event);
    else context.print(`${eventLine(event)}\n`);
  };
  if (invocation.has("follow")) {
    await context.request("events", { array, since, follow: true }, { onEvent: tell });
    return { data: null, text: "", streamed: true };
  }
  const { data } = await context.request("events", { array, since, follow: false });
  return { data, text: data.events.map((event) => `${eventLine(event)}\n`).join("") };
};
