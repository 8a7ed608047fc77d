import { crc32c } from "../base/crc32c.ts";
import { CRC_AT, TAKEOVER_RECORD_BYTES } from "./takeover-blocks.ts";

/** Who looks at its own pill block, and since when it owns the slot. Plain data. */
export interface PillReader {
  /** 16 bytes. */
  readonly arrayUuid: Uint8Array;
  readonly slot: number;
  readonly incarnation: string;
  /** Takeover generation when it joined. */
  readonly generation: number;
}

/** clear: nothing against us. condemned: we were taken over. unknown: it says nothing that can be believed. */
export type PillVerdict = "clear" | "condemned" | "unknown";

/**
 * Reads pill blocks for the data plane: the same bytes as `decodeTakeover`, but without an allocation. A pill that is newer
 * than our join is meant for us whatever incarnation it names: the slot was ours since.
 */
export class PillCheck {
  readonly #expected: Uint8Array;
  readonly #incarnation: Uint8Array;
  readonly #slot: number;
  readonly #generation: number;

  constructor({ arrayUuid, slot, incarnation, generation }: PillReader) {
    // Magic and version as they are encoded, then the array.
    this.#expected = new Uint8Array([0x6d, 0x64, 0x54, 0x50, 1, 0, 0, 0, ...arrayUuid]);
    this.#incarnation = new Uint8Array(32);
    new TextEncoder().encodeInto(incarnation, this.#incarnation.subarray(0, 31));
    this.#slot = slot;
    this.#generation = generation;
  }

  /** `memory[at, at + 512)` is the block's first sector. */
  verdict(memory: Uint8Array, at: number): PillVerdict {
    if (isBlank(memory, at)) return "clear";
    const expected = this.#expected;
    for (let i = 0; i < expected.length; i++) if (memory[at + i] !== expected[i]) return "unknown";
    if (u32(memory, at + CRC_AT) !== crc32c(memory, at, at + CRC_AT)) return "unknown";
    if (u32(memory, at + 48) !== this.#slot) return "unknown";
    const generation = u32(memory, at + 24) + u32(memory, at + 28) * 2 ** 32;
    if (generation > this.#generation) return "condemned";
    for (let i = 0; i < 32; i++) if (memory[at + 56 + i] !== this.#incarnation[i]) return "clear";
    return "condemned";
  }
}

function isBlank(memory: Uint8Array, at: number): boolean {
  for (let i = 0; i < TAKEOVER_RECORD_BYTES; i++) if (memory[at + i] !== 0) return false;
  return true;
}

const u32 = (memory: Uint8Array, at: number): number =>
  ((memory[at] ?? 0) | ((memory[at + 1] ?? 0) << 8) | ((memory[at + 2] ?? 0) << 16) | ((memory[at + 3] ?? 0) << 24)) >>>
  0;
