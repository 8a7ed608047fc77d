import { closeSync } from "node:fs";
import { errnoName } from "../errno-name.ts";
import type { RingOptions } from "../io-ring.ts";
import type { Libc } from "./libc.ts";
import { mapMemory } from "./mapped-memory.ts";
import { mapRing } from "./mapped-ring.ts";
import { UringRing } from "./uring-ring.ts";

const SCRATCH_BYTES = 4096;
const EFD_CLOEXEC = 0x80000;

/** A ring that has been tried out; or, in words for people, why there is none. */
export function openUringRing(libc: Libc, options: RingOptions): UringRing | string {
  const mapped = mapRing(libc, options.entries);
  if (typeof mapped === "string") return mapped;

  const scratch = mapMemory(libc, SCRATCH_BYTES);
  const arena = mapMemory(libc, options.arenaBytes);
  const eventfd = libc.eventfd(0, EFD_CLOEXEC);
  if (typeof scratch === "number" || typeof arena === "number" || eventfd < 0) {
    mapped.close();
    if (typeof scratch !== "number") scratch.release();
    if (typeof arena !== "number") arena.release();
    if (eventfd >= 0) closeSync(eventfd);
    const errno = [scratch, arena, eventfd].find((result) => typeof result === "number" && result < 0);
    return `memory for the ring: ${errnoName(-Number(errno))}`;
  }

  const ring = new UringRing({ libc, mapped, scratch, arena, eventfd });
  if (ring.tryOut()) return ring;
  ring.close();
  return "io_uring gives a ring but carries out no NOP and READ";
}
