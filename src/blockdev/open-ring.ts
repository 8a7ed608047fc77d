import { assert } from "../base/assert.ts";
import { MdError } from "../base/md-error.ts";
import type { IoRing, RingOptions } from "./io-ring.ts";
import { ThreadPoolRing } from "./thread-pool-ring.ts";
import { type Libc, loadLibc } from "./uring/libc.ts";
import { openUringRing } from "./uring/open-uring-ring.ts";

/** What to open: `auto` takes io_uring where it works, and Node's thread pool elsewhere. */
export type RingChoice = "auto" | "io_uring" | "threads";

/**
 * The data plane's ring, opened by the thread that will own it. Whether io_uring works is found by using it: kernels,
 * sysctls and seccomp profiles refuse it in different ways. Throws MdError E_IO when `io_uring` is asked for and refused.
 */
export function openRing(choice: RingChoice, options: RingOptions, libc: Libc | string = loadLibc()): IoRing {
  const { entries, arenaBytes } = options;
  assert(entries > 0 && (entries & (entries - 1)) === 0, "ring entries are a power of two");
  assert(Number.isInteger(arenaBytes) && arenaBytes > 0, "arenaBytes is a positive integer");

  if (choice === "threads") return new ThreadPoolRing(libc, options, "chosen");
  const ring = typeof libc === "string" ? libc : openUringRing(libc, options);
  if (typeof ring !== "string") return ring;
  if (choice === "io_uring") throw new MdError("E_IO", "io_uring is not available", { why: ring });
  return new ThreadPoolRing(libc, options, ring);
}
