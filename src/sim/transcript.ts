import type { ClusterMessage } from "../messages/message.ts";
import type { SimEvent } from "./sim-event.ts";
import type { TracedEvent } from "./trace.ts";

/**
 * A run as a story: what was done to the cluster, a line, and below it what the cluster did until the next thing was
 * done to it. Log lines that only locks care for are left out.
 */
export function transcriptOf(title: string, events: readonly TracedEvent[]): string {
  const lines = [`# ${title}`];
  for (const { at, event } of events) {
    if (typeof event === "string") lines.push(`${at.toFixed(3)} ${event}`);
    else if (event.type === "fault") lines.push("", event.what, "----");
    else if (event.type === "power_cut") continue;
    else if (event.type !== "log" || event.level !== "trace") lines.push(`${at.toFixed(3)} ${sentence(event)}`);
  }
  return `${lines.join("\n")}\n`;
}

function sentence(event: SimEvent): string {
  const { type, ...fields } = event;
  const { life, ...rest } = { life: "", ...fields };
  switch (event.type) {
    case "log":
      return `${event.life} ${event.text}`;
    case "message_begun":
      return `${event.life} says ${event.message.type.toUpperCase()} ${detailsOf(event.message)}(message ${event.number})`;
    case "message_heard":
    case "message_said":
      return `${event.life} ${type === "message_said" ? "knows that all have" : "has"} processed message ${event.number}`;
    case "life_ended":
      return `${event.life} ends: ${event.why}`;
    case "write_submitted":
    case "write_landed":
      return `${event.life} ${type.replace("_", " ")}: ${event.area} [${event.lo}, ${event.hi}) on ${event.disk}`;
    case "request":
      return `${event.life} is asked to ${event.op} [${event.lo}, ${event.hi})${event.fua ? " with FUA" : ""} (#${event.id})`;
    case "reply":
      return `${event.life} answers #${event.id}${event.errno === 0 ? "" : ` with error ${event.errno}`}`;
    default:
      return `${life} ${type.replaceAll("_", " ")} ${Object.entries(rest).map(field).join(" ")}`.trim();
  }
}

/** What it is about. */
function detailsOf(message: ClusterMessage): string {
  if (message.type === "resyncing") return message.range === null ? "nothing " : `${field(["", message.range])} `;
  return "number" in message ? `${message.number} ` : "";
}

function field([key, value]: readonly [string, unknown]): string {
  if (typeof value === "object" && value !== null && "lo" in value && "hi" in value) {
    return `[${String(value.lo)}, ${String(value.hi)})`;
  }
  return `${key} ${String(value)}`;
}
