import type { Command } from "../command.ts";
import { safeText } from "../render/safe-text.ts";
import { plainTable, table } from "../render/table.ts";
import { arrayOperand } from "./array-operand.ts";

export const messages: Command = async (invocation, context) => {
  const { data } = await context.request("messages", { array: arrayOperand(invocation) });
  const counts = [data.sent, data.received, data.refused, data.failed];
  const types = [...new Set(counts.flatMap((count) => Object.keys(count)))].sort();
  const rows = types.map((type) => [type.toUpperCase(), ...counts.map((count) => String(count[type] ?? 0))]);
  const last = data.lastRoundTripMillis === null ? "-" : `${data.lastRoundTripMillis.toFixed(1)} ms`;
  const refusal = data.lastRefusal === null ? "" : `last refusal ${safeText(data.lastRefusal)}\n`;
  const heading = ["MESSAGE", "SENT", "RECEIVED", "REFUSED", "FAILED"];
  const text = `${table(heading, rows)}last round trip ${last}\n${refusal}`;
  return { data, text, plain: plainTable(rows) };
};
