import type { Libc } from "./libc.ts";
import type { MappedMemory } from "./mapped-memory.ts";
import { RegisterOp } from "./uapi.ts";

/** More would not be one registered buffer. */
const MAX_BYTES = 2 ** 30;

/**
 * Tries to register the arena as the ring's buffer 0: its pages are then looked up once and not at every transfer.
 * They count against RLIMIT_MEMLOCK, so this may be refused. `iovec` is 16 bytes at `iovecAt`.
 */
export function registerArena(
  libc: Libc,
  ringFd: number,
  arena: MappedMemory,
  iovec: Uint32Array,
  iovecAt: number,
): boolean {
  if (arena.bytes.length > MAX_BYTES) return false;
  iovec[0] = arena.address >>> 0;
  iovec[1] = Math.floor(arena.address / 2 ** 32);
  iovec[2] = arena.bytes.length;
  iovec[3] = 0;
  return libc.ioUringRegister(ringFd, RegisterOp.BUFFERS, iovecAt, 1) >= 0;
}
