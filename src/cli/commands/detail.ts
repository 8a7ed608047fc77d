import type { Command } from "../command.ts";
import { healthExit } from "../health-exit.ts";
import { detailText, scanLine } from "../render/detail-text.ts";
import { exportedArray } from "../render/exported.ts";
import { localOffset } from "../render/local-time.ts";
import { arrayOperand } from "./array-operand.ts";

export const detail: Command = async (invocation, context) => {
  if (invocation.has("scan")) {
    const { data } = await context.request("status", {});
    const text = data.arrays.map((array) => `${scanLine(array)}\n`).join("");
    return { data: { arrays: data.arrays }, text };
  }
  const { data } = await context.request("detail", { array: arrayOperand(invocation) });
  const { array } = data;
  const text = invocation.has("brief")
    ? `${scanLine(array)}\n`
    : `${detailText(array, { devices: !invocation.has("no-devices"), utcOffset: localOffset }).join("\n")}\n`;
  const exitCode = invocation.has("test") ? healthExit([array]) : 0;
  return { data, text, exported: exportedArray(array), exitCode };
};
