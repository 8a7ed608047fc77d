import { type MdErrorCode, mdErrorCodes } from "../base/md-error.ts";
import { bytes, struct, u32le } from "../base/struct.ts";
import { type SlotNumber, slotNumber } from "../base/units.ts";
import { LVB_SIZE } from "../dlm/lockspace.ts";

const CODE_BYTES = 24;
const WHY_BYTES = 32;

/** The value block of `resultNNNN`. Ours alone: the kernel has no place for a result. */
const wire = struct("refusal", LVB_SIZE, {
  /** Of the message: its sender and its number, as in the value block of `message`. */
  sequence: u32le(0),
  from: u32le(4),
  code: bytes(8, CODE_BYTES),
  why: bytes(32, WHY_BYTES),
});

/** That a node did not carry a message out. */
export interface Refusal {
  readonly sequence: number;
  /** The sender of the message. */
  readonly from: SlotNumber;
  readonly code: MdErrorCode;
  /** For people; cut off at 32 bytes. */
  readonly why: string;
}

export function encodeRefusal({ sequence, from, code, why }: Refusal): Uint8Array {
  return wire.encode({ sequence, from, code: ascii(code, CODE_BYTES), why: ascii(why, WHY_BYTES) });
}

/** Null for bytes that no node of ours has written. */
export function decodeRefusal(lvb: Uint8Array): Refusal | null {
  const { sequence, from, code, why } = wire.decode(lvb);
  const known = mdErrorCodes.find((each) => each === textOf(code));
  return known === undefined ? null : { sequence, from: slotNumber(from), code: known, why: textOf(why) };
}

function ascii(text: string, size: number): Uint8Array {
  const into = new Uint8Array(size);
  const printable = [...text].filter((letter) => letter >= " " && letter <= "~");
  for (const [at, letter] of printable.slice(0, size).entries()) into[at] = letter.charCodeAt(0);
  return into;
}

const textOf = (from: Uint8Array): string =>
  String.fromCharCode(...from.filter((byte) => byte >= 0x20 && byte <= 0x7e));
