import type { Command } from "../command.ts";
import { syncText } from "../render/sync-text.ts";

/** As mdadm: with nothing to wait for the option spelling says 1. */
export const wait: Command = async (invocation, context) => {
  const { data } = await context.request(
    "wait",
    { arrays: invocation.operands },
    {
      onEvent: ({ name, sync }) => context.progress(`${name} ${syncText(sync)}`, Math.floor((sync.percent ?? 0) * 10)),
    },
  );
  context.endProgress();
  return { data, text: "", exitCode: !data.waited && invocation.spelling === "option" ? 1 : 0 };
};
