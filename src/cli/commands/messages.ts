import type { Command } from "../command.ts";
import { plainTable, table } from "../render/table.ts";
import { arrayOperand } from "./array-operand.ts";

export const messages: Command = async (invocation, context) => {
  const { data } = await context.request("messages", { array: arrayOperand(invocation) });
  const types = [...new Set([...Object.keys(data.sent), ...Object.keys(data.received)])].sort();
  const rows = types.map((type) => [
    type.toUpperCase(),
    String(data.sent[type] ?? 0),
    String(data.received[type] ?? 0),
  ]);
  const last = data.lastRoundTripMillis === null ? "-" : `${data.lastRoundTripMillis.toFixed(1)} ms`;
  const text = `${table(["MESSAGE", "SENT", "RECEIVED"], rows)}last round trip ${last}\n`;
  return { data, text, plain: plainTable(rows) };
};
