import { writeSync } from "node:fs";
import { Errno } from "./errno.ts";
import type { WakeHandle } from "./io-ring.ts";

const one = new Uint8Array(BigUint64Array.of(1n).buffer);

/**
 * Makes the ring's owner return from `submitAndReap`, from any thread; a wake that comes while the owner is not waiting
 * ends its next wait. The ring must still be open: its descriptor may mean another file afterwards. A handle of type
 * `none` needs no call of ours: a message to its owner's port runs the owner's event loop.
 */
export function wakeRing(handle: WakeHandle): void {
  if (handle.type === "none") return;
  try {
    writeSync(handle.fd, one);
  } catch (error) {
    // The counter is full: the owner has been woken often enough.
    if ((error as NodeJS.ErrnoException).errno !== -Errno.EAGAIN) throw error;
  }
}
