import { MdError } from "../../base/md-error.ts";
import { parseDuration } from "../../daemon/parse-duration.ts";
import { runDashboard } from "../../dashboard/main.ts";
import type { Command } from "../command.ts";
import type { Invocation } from "../invocation.ts";

export const dashboard: Command = async (invocation, context) => {
  const refresh = parseDuration("refresh", invocation.value("refresh") ?? "1s");
  const exitCode = await runDashboard({
    socket: context.socketPath,
    once: invocation.has("once"),
    size: sizeOf(invocation),
    refreshSeconds: refresh / 1000,
    colour: context.env["NO_COLOR"] === undefined && !invocation.has("no-color"),
    signal: context.interrupted,
  });
  return { data: null, text: "", streamed: true, exitCode };
};

function sizeOf(invocation: Invocation): { columns: number; rows: number } | null {
  const text = invocation.value("size");
  if (text === null) return null;
  const match = /^(\d{1,4})x(\d{1,4})$/.exec(text);
  if (match === null) throw new MdError("E_VALUE", `size: "${text}" is not COLSxROWS`, { hint: "--size=80x24" });
  return { columns: Number(match[1]), rows: Number(match[2]) };
}
