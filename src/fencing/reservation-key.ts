import { crc32c } from "../base/crc32c.ts";
import type { SlotNumber } from "../base/units.ts";

/**
 * The reservation key of a member of a lockspace: 8 bytes, as hexadecimal text without leading zeros. 32 bits say which
 * lockspace of which cluster, 8 the slot (from 1, so that a key is never 0), 24 the incarnation.
 */
export function reservationKey(lockspace: string, slot: SlotNumber, incarnation: string): string {
  const encoder = new TextEncoder();
  const space = BigInt(crc32c(encoder.encode(lockspace)));
  const life = BigInt(crc32c(encoder.encode(incarnation)) & 0xffffff);
  return ((space << 32n) | (BigInt(slot + 1) << 24n) | life).toString(16);
}
