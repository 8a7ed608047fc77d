import type { MessageInfo } from "../../daemon/control-api.ts";
import type { Command } from "../command.ts";
import { safeText } from "../render/safe-text.ts";
import { plainTable, table } from "../render/table.ts";
import { arrayOperand } from "./array-operand.ts";

export const messages: Command = async (invocation, context) => {
  const { data } = await context.request("messages", { array: arrayOperand(invocation) });
  const counts = [data.sent, data.received, data.refused, data.failed];
  const types = [...new Set(counts.flatMap((count) => Object.keys(count)))].sort();
  const rows = types.map((type) => [type.toUpperCase(), ...counts.map((count) => String(count[type] ?? 0))]);
  const refusal = data.lastRefusal === null ? "" : `last refusal ${safeText(data.lastRefusal)}\n`;
  const heading = ["MESSAGE", "SENT", "RECEIVED", "REFUSED", "FAILED"];
  const steps = data.last.length === 0 ? "" : `\n${table(STEPS, data.last.map(stepsOf))}`;
  const text = `${table(heading, rows)}last round trip ${millis(data.lastRoundTripMillis)}\n${refusal}${steps}`;
  return { data, text, plain: plainTable(rows) };
};

const STEPS = ["LAST", "AT", "TOKEN", "MESSAGE", "ACK", "NOT ACKNOWLEDGED"];

/** Where the time of a message went: waits for the token, for `message` and for all acknowledgements, and for whom. */
const stepsOf = ({ message, time, tokenMillis, messageMillis, ackMillis, slow }: MessageInfo): readonly string[] => [
  message,
  time,
  millis(tokenMillis),
  millis(messageMillis),
  millis(ackMillis),
  slow.length === 0 ? "-" : slow.map((one) => `${one.node} after ${millis(one.millis)}`).join(", "),
];

function millis(value: number | null): string {
  return value === null ? "-" : `${value.toFixed(1)} ms`;
}
