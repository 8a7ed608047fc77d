export const BLOCK_BYTES = 4096;

/** What block `block` holds after write number `seed`: every 8 bytes tell both, so a torn or misplaced block shows. */
export function patternOf(block: number, seed: number): Buffer {
  const bytes = Buffer.alloc(BLOCK_BYTES);
  for (let at = 0; at < BLOCK_BYTES; at += 8) {
    bytes.writeUInt32LE(seed, at);
    bytes.writeUInt32LE((block ^ Math.imul(at + 1, 0x9e3779b1)) >>> 0, at + 4);
  }
  return bytes;
}

/** The write number that a block was written with, null if it is not a whole pattern of that block. */
export function seedOf(block: number, bytes: Buffer): number | null {
  const seed = bytes.readUInt32LE(0);
  return bytes.equals(patternOf(block, seed)) ? seed : null;
}
