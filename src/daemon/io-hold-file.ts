import { existsSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isIoOver } from "../blockdev/io-hold.ts";
import { isProcessGone, ownProcess } from "../dlm/local-process.ts";
import type { ProcessIdentity } from "../dlm/process-identity.ts";

const PREFIX = "mdctl-io-";
const OLD_MS = 24 * 3600 * 1000;

/** The same for all processes of a host that can know of each other. */
const folder = (): string => (existsSync("/run/lock") ? "/run/lock" : tmpdir());

/** The file that the rings of a process hold. */
export const ioHoldFile = ({ pid, started }: ProcessIdentity): string => join(folder(), `${PREFIX}${pid}-${started}`);

/** The process has ended and, which takes longer, all its IO. Anything that cannot be known is no proof. */
export const isProcessOver = (process: ProcessIdentity): boolean =>
  isProcessGone(process) && isIoOver(ioHoldFile(process));

/**
 * At the end of a process that has left its arrays: its own file, and those of processes that were killed long ago. Not at
 * the beginning: a daemon that was killed just now may be this one's former life, whose end is still to be proved.
 */
export function removeHolds(now: number): void {
  rmSync(ioHoldFile(ownProcess()), { force: true });
  for (const name of readdirSync(folder())) {
    if (!name.startsWith(PREFIX)) continue;
    const path = join(folder(), name);
    try {
      if (now - statSync(path).mtimeMs > OLD_MS && isIoOver(path)) rmSync(path, { force: true });
    } catch {
      // Somebody else's, or gone.
    }
  }
}
