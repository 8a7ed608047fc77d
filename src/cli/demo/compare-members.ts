import { open } from "node:fs/promises";

export interface DataArea {
  readonly path: string;
  readonly dataOffsetBytes: number;
}

const STEP = 1024 * 1024;

/** The first byte of the data areas at which the members differ, null if they are identical over `bytes`. */
export async function firstDifference(areas: readonly DataArea[], bytes: number): Promise<number | null> {
  const files = await Promise.all(areas.map(({ path }) => open(path, "r")));
  const buffers = areas.map(() => Buffer.alloc(STEP));
  try {
    for (let at = 0; at < bytes; at += STEP) {
      const length = Math.min(STEP, bytes - at);
      for (const [i, file] of files.entries()) {
        const { bytesRead } = await file.read(
          buffers[i] ?? buffers[0] ?? Buffer.alloc(0),
          0,
          length,
          (areas[i]?.dataOffsetBytes ?? 0) + at,
        );
        if (bytesRead !== length) return at + bytesRead;
      }
      const [first, ...others] = buffers;
      for (const other of others) {
        if (first === undefined || first.compare(other, 0, length, 0, length) === 0) continue;
        return at + first.findIndex((byte, i) => byte !== other[i]);
      }
    }
    return null;
  } finally {
    await Promise.all(files.map((file) => file.close()));
  }
}
