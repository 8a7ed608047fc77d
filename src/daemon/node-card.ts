import { bytes, struct, u16le } from "../base/struct.ts";
import { LVB_SIZE } from "../dlm/lockspace.ts";
import { ownProtocol } from "../messages/protocol-version.ts";

/** What nodes of a cluster must have in common: lock calls, message frames, value blocks. */
export const CLUSTER_PROTOCOL = ownProtocol.newest;

/** What a node tells the others of itself, in the value block of a lock that it holds as long as it lives. */
export interface NodeCard {
  readonly protocol: number;
  /** Of the program. */
  readonly version: string;
}

const MAGIC = 0x4d43;
const TEXT = 32;
const wire = struct("node_card", LVB_SIZE, { magic: u16le(0), protocol: u16le(2), version: bytes(4, TEXT) });

export function encodeNodeCard({ protocol, version }: NodeCard): Uint8Array {
  const text = new Uint8Array(TEXT);
  text.set(new TextEncoder().encode(version).subarray(0, TEXT));
  return wire.encode({ magic: MAGIC, protocol, version: text });
}

/** Null for bytes that are no card. Believes nothing: they come from another host. */
export function decodeNodeCard(lvb: Uint8Array): NodeCard | null {
  if (lvb.byteLength !== LVB_SIZE) return null;
  const { magic, protocol, version } = wire.decode(lvb);
  const text = new TextDecoder().decode(version).replace(/\0.*$/s, "");
  return magic === MAGIC && /^[0-9A-Za-z.+-]+$/.test(text) ? { protocol, version: text } : null;
}

/** One lock a slot. */
export const cardResource = (slot: number): string => `node${String(slot).padStart(2, "0")}`;
