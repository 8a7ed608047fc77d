import { MdError } from "../../base/md-error.ts";
import { errorOf } from "../../daemon/control-client.ts";
import type { Command } from "../command.ts";

export const stop: Command = async (invocation, context) => {
  const scan = invocation.has("scan");
  if (!scan && invocation.operands.length === 0) {
    throw new MdError("E_USAGE", "stop needs the name of an array, or --scan", { hint: "mdctl stop --scan" });
  }
  const { data } = await context.request("stop", { arrays: invocation.operands, scan });
  for (const { name, stopped } of data.arrays) if (stopped) context.note(`stopped ${name}`);
  const [failed] = data.arrays.flatMap(({ error }) => error ?? []);
  if (failed === undefined) return { data, text: "" };
  if (data.arrays.every(({ stopped }) => !stopped)) throw errorOf(failed);
  throw new MdError("E_PARTIAL", `not all arrays were stopped: ${failed.message}`, { details: { data } });
};
