import type { LockspaceDump, ResourceDump } from "../dlm/lockspace.ts";
import { decodeFrame } from "../messages/message-codec.ts";
import { decodeResyncWindow } from "../messages/resync-window-codec.ts";
import type { LockResource, LocksData } from "./control-api.ts";

/** An array's locks in the words of the control API: nodes by name, values decoded, who waits for whom. */
export function locksData(array: string, dump: LockspaceDump): LocksData {
  const nodeOf = (slot: number): string => dump.members.find((member) => member.slot === slot)?.node ?? `slot ${slot}`;
  return {
    array,
    generation: dump.generation,
    resources: [...dump.resources].sort(byRank).map((resource) => lockResource(resource, nodeOf)),
    blocked: dump.resources.flatMap((resource) => blockedOn(resource, nodeOf)),
  };
}

const order = ["token", "message", "ack", "no-new-dev", "resync"];
const rank = ({ name }: ResourceDump): number => (order.includes(name) ? order.indexOf(name) : order.length);
const byRank = (a: ResourceDump, b: ResourceDump): number => rank(a) - rank(b) || a.name.localeCompare(b.name);

function lockResource(resource: ResourceDump, nodeOf: (slot: number) => string): LockResource {
  return {
    name: resource.name,
    grants: resource.granted.map(({ slot, mode }) => ({ node: nodeOf(slot), mode })),
    convert: resource.converting.map(({ slot, from, to }) => ({ node: nodeOf(slot), from, to, waitSeconds: null })),
    queue: resource.waiting.map(({ slot, mode }) => ({ node: nodeOf(slot), mode, waitSeconds: null })),
    value: lockValue(resource, nodeOf),
    ageSeconds: null,
  };
}

function blockedOn(resource: ResourceDump, nodeOf: (slot: number) => string): LocksData["blocked"] {
  const waiting = [...resource.converting.map(({ slot }) => slot), ...resource.waiting.map(({ slot }) => slot)];
  return waiting.map((slot) => {
    const behind = resource.granted.filter((grant) => grant.slot !== slot && grant.mode !== "NL");
    return {
      node: nodeOf(slot),
      resource: resource.name,
      behind: behind.map((grant) => nodeOf(grant.slot)),
      why: behind.map((grant) => `${nodeOf(grant.slot)} holds ${grant.mode}`).join(", ") || "its turn has not come",
    };
  });
}

function lockValue(resource: ResourceDump, nodeOf: (slot: number) => string): LockResource["value"] {
  const { name, lvb, lvbValid, granted } = resource;
  if (lvb === null || lvb.every((byte) => byte === 0)) return null;
  // What its last owner left behind says nothing about a slot that nobody owns.
  if (name.startsWith("bitmap") && !granted.some(({ mode }) => mode === "PW")) return null;
  const hex = Buffer.from(lvb).toString("hex");
  if (!lvbValid) return { hex, decoded: "not valid: its writer died" };
  return { hex, decoded: decoded(name, lvb, nodeOf) };
}

function decoded(name: string, lvb: Uint8Array, nodeOf: (slot: number) => string): string {
  if (name === "message") {
    const frame = decodeFrame(lvb);
    if (frame === null) return "unreadable";
    const { message } = frame;
    const range = !("range" in message)
      ? ""
      : message.range === null
        ? " (over)"
        : ` ${gib(message.range.lo)}-${gib(message.range.hi)}G`;
    return `${message.type.toUpperCase()} ${nodeOf(message.from)}${range}`;
  }
  if (name.startsWith("bitmap")) {
    const value = decodeResyncWindow(lvb);
    if (value === null) return "unreadable";
    const needs = value.needsResync ? "needs resync" : "no resync";
    return value.range === null ? needs : `resync ${gib(value.range.lo)}-${gib(value.range.hi)}G`;
  }
  return "";
}

const gib = (at: number): string => ((at * 512) / 1024 ** 3).toFixed(2);
