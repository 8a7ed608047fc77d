import { Errno } from "../errno.ts";
import type { Libc } from "./libc.ts";
import { Madvise, MapFlag, Prot } from "./uapi.ts";

/** Memory outside the JS heap: it never moves, and begins on a page. */
export interface MappedMemory {
  readonly address: number;
  readonly bytes: Uint8Array;
  /** `bytes` must not be touched afterwards. */
  release(): void;
}

const HUGE_PAGE = 2 << 20;

/** Zeroed memory for transfers, resident from the start; on huge pages where it is large. A negative errno if there is none. */
export function mapMemory(libc: Libc, bytes: number): MappedMemory | number {
  const huge = bytes >= HUGE_PAGE;
  const length = Math.ceil(bytes / 4096) * 4096 + (huge ? HUGE_PAGE : 0);
  const start = libc.mmap(length, Prot.READ_WRITE, MapFlag.PRIVATE | MapFlag.ANONYMOUS, -1, 0);
  if (start < 0) return start;

  const address = huge ? Math.ceil(start / HUGE_PAGE) * HUGE_PAGE : start;
  // A forked child must not share these pages: the copy on write that follows a fork can leave the disk writing into
  // the page that the child kept.
  libc.madvise(start, length, Madvise.DONTFORK);
  if (huge) libc.madvise(address, bytes, Madvise.HUGEPAGE);
  // Unknown before 5.14: then pages come at first touch.
  if (libc.madvise(address, Math.ceil(bytes / 4096) * 4096, Madvise.POPULATE_WRITE) === -Errno.ENOMEM) {
    libc.munmap(start, length);
    return -Errno.ENOMEM;
  }
  return {
    address,
    bytes: new Uint8Array(libc.view(address, bytes)),
    release: () => void libc.munmap(start, length),
  };
}
