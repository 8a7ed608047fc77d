import { assert } from "./assert.ts";

type Plain = Readonly<Record<string, unknown>>;

const isPlain = (value: unknown): value is Plain => typeof value === "object" && value !== null;

/** What JSON can say, of a value that may hold maps, sets and bytes too: `{"$map": [[k, v]...]}`, `{"$set"}`, `{"$hex"}`. */
export function toTagged(value: unknown): unknown {
  if (value instanceof Map) return { $map: [...value].map(toTagged) };
  if (value instanceof Set) return { $set: [...value].map(toTagged) };
  if (value instanceof Uint8Array) {
    return { $hex: Array.from(value, (byte) => byte.toString(16).padStart(2, "0")).join("") };
  }
  if (Array.isArray(value)) return value.map(toTagged);
  if (!isPlain(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([name, field]) => [name, toTagged(field)]));
}

/** The value again. What has the shape of a tag and is none is a contradiction: nobody else writes such names. */
export function fromTagged(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(fromTagged);
  if (!isPlain(value)) return value;
  const { $map, $set, $hex } = value;
  if (Array.isArray($map)) return new Map($map.map(fromTagged) as [unknown, unknown][]);
  if (Array.isArray($set)) return new Set($set.map(fromTagged));
  if (typeof $hex === "string") return bytes($hex);
  return Object.fromEntries(Object.entries(value).map(([name, field]) => [name, fromTagged(field)]));
}

function bytes(hex: string): Uint8Array {
  assert(/^([0-9a-f]{2})*$/.test(hex), "bytes are written in pairs of hexadecimal digits");
  return Uint8Array.from(hex.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
}
