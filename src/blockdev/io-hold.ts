import { closeSync, constants, openSync } from "node:fs";
import { type Libc, loadLibc } from "./uring/libc.ts";

const LOCK_SH = 1;
const LOCK_EX = 2;
const LOCK_NB = 4;

/**
 * How another process learns that a dead one has no IO in flight any more. io_uring does not wait for it when its process
 * exits: the kernel keeps the ring, and the files registered with it, until the last request is done (io_ring_exit_work).
 * So each ring keeps a file open on which a shared flock lies; who gets the exclusive one has the proof.
 *
 * Returns the descriptor that the ring is to keep, or null where there is no flock.
 */
export function openIoHold(path: string, libc: Libc | string = loadLibc()): number | null {
  if (typeof libc === "string") return null;
  const fd = openSync(path, constants.O_RDWR | constants.O_CREAT, 0o600);
  // Who looks whether it is free lets go at once.
  if (libc.flock(fd, LOCK_SH) >= 0) return fd;
  closeSync(fd);
  return null;
}

/** Is nothing in flight any more of those that held `path`? False also where nobody can tell. */
export function isIoOver(path: string, libc: Libc | string = loadLibc()): boolean {
  if (typeof libc === "string") return false;
  let fd: number;
  try {
    fd = openSync(path, constants.O_RDWR);
  } catch {
    return false;
  }
  try {
    return libc.flock(fd, LOCK_EX | LOCK_NB) >= 0;
  } finally {
    closeSync(fd);
  }
}
