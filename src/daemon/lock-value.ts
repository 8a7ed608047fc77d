import type { ResourceDump } from "../dlm/lockspace.ts";
import { decodeFrame } from "../messages/message-codec.ts";
import { decodeRefusal } from "../messages/refusal-codec.ts";
import { decodeResyncWindow } from "../messages/resync-window-codec.ts";
import type { LockResource } from "./control-api.ts";

/** A lock's value block, decoded. `dead`: slots whose owner died, by name. Null where it says nothing. */
export function lockValue(resource: ResourceDump, dead: ReadonlyMap<number, string>): LockResource["value"] {
  const { name, lvb, lvbValid, granted } = resource;
  const hex = lvb === null ? null : Buffer.from(lvb).toString("hex");
  const owner = dead.get(slotNumberOf(name) ?? -1);
  const isOwned = granted.some(({ mode }) => mode === "PW");
  if (owner !== undefined && !isOwned) return { hex, decoded: `stale (${owner} down)` };
  if (lvb === null) return null;
  // What its last owner left behind says nothing about a slot that nobody owns.
  if (name.startsWith("bitmap") ? !isOwned : lvb.every((byte) => byte === 0)) return null;
  return { hex, decoded: lvbValid ? decoded(resource, lvb) : "not valid: its writer died" };
}

/** The message that is being sent: `RESYNCING slot 1 37.50-37.53G`. Null: there is none, or it cannot be read. */
export function messageText({ lvb, lvbValid }: Pick<ResourceDump, "lvb" | "lvbValid">): string | null {
  const frame = lvb === null || !lvbValid ? null : decodeFrame(lvb);
  if (frame === null) return null;
  const { message } = frame;
  const range = !("range" in message) ? "" : message.range === null ? " (over)" : ` ${rangeText(message.range)}`;
  return `${message.type.toUpperCase()} slot ${message.from}${range}`;
}

function slotNumberOf(name: string): number | null {
  const match = /^bitmap(\d{4})$/.exec(name);
  return match === null ? null : Number(match[1]);
}

function decoded(resource: ResourceDump, lvb: Uint8Array): string {
  if (resource.name === "message") return messageText(resource) ?? "unreadable";
  if (resource.name.startsWith("result")) {
    const refusal = decodeRefusal(lvb);
    return refusal === null ? "unreadable" : `refused a message of slot ${refusal.from}: ${refusal.why}`;
  }
  if (!resource.name.startsWith("bitmap")) return "";
  const value = decodeResyncWindow(lvb);
  if (value === null) return "unreadable";
  if (value.range !== null) return `resync ${rangeText(value.range)}`;
  return value.needsResync ? "needs resync" : "no resync";
}

const rangeText = ({ lo, hi }: { readonly lo: number; readonly hi: number }): string => `${gib(lo)}-${gib(hi)}G`;
const gib = (at: number): string => ((at * 512) / 1024 ** 3).toFixed(2);
