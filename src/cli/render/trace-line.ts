import type { ReplayedStep } from "../../sim/replay/machine-lives.ts";
import { safeText } from "./safe-text.ts";

/** `17      3.482 n1 channel  bast lock=ack wanted=EX -> convert receiving [message CR]`; times from `zero`. */
export function traceLine(number: number, machine: string, step: ReplayedStep, zero: number): string {
  const { record, event, effects } = step;
  const at = ((record.time - zero) / 1000).toFixed(3).padStart(9);
  const did = effects.length === 0 ? "" : ` -> ${effects.map(said).join("; ")}`;
  return safeText(`${String(number).padStart(5)} ${at} ${record.node} ${machine.padEnd(7)} ${said(event)}${did}`);
}

/** What a value is, in a few words: its `type` first, then its other fields. */
export function said(value: unknown): string {
  if (typeof value !== "object" || value === null) return String(value);
  if (value instanceof Uint8Array) return Buffer.from(value).toString("hex");
  if (value instanceof Map) return `{${[...value].map(([key, of]) => `${said(key)}: ${said(of)}`).join(", ")}}`;
  if (value instanceof Set || Array.isArray(value)) return `[${[...value].map(said).join(", ")}]`;
  const { type, lock, mode, ...fields } = value as Record<string, unknown>;
  const words = [type, lock, mode].filter((word) => word !== undefined).map(String);
  const rest = Object.entries(fields).map(([name, field]) => `${name}=${said(field)}`);
  const text = [...words, ...rest].join(" ");
  return type === undefined && lock === undefined ? `{${text}}` : text;
}
