import { closeSync, fsyncSync, openSync, writeSync } from "node:fs";

const BLOCK = Buffer.alloc(1024 * 1024, 0x5a);

/** Writes a file of so many bytes, a multiple of 1 MiB, through to the disk: no run pays for allocating blocks. */
export function fill(path: string, bytes: number): void {
  const fd = openSync(path, "w");
  for (let at = 0; at < bytes; at += BLOCK.length) writeSync(fd, BLOCK);
  fsyncSync(fd);
  closeSync(fd);
}
