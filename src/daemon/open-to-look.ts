import { MdError } from "../base/md-error.ts";
import type { BlockDevice } from "../blockdev/block-device.ts";
import { openFileDevice } from "../blockdev/file-device.ts";
import { TimedDevice } from "../blockdev/timed-device.ts";
import { realClock } from "../env/real-env.ts";

/** Milliseconds that a device has to answer somebody who only looks at it. */
const LOOK_MS = 5000;

/** By path. Each of them holds one of the few threads that transfers are done in. */
const silent = new Set<string>();

/** To see what is on a device, which may be one that does not answer: then E_IO, at once if that is known. Errors as of `openFileDevice`. */
export async function openToLook(path: string): Promise<BlockDevice> {
  if (silent.has(path)) {
    throw new MdError("E_IO", `cannot read ${path}: it has not answered what was asked before`);
  }
  const device = new TimedDevice(await openFileDevice(path, { readOnly: true }), realClock, LOOK_MS);
  device.onLate = () => silent.add(path);
  device.onAnswered = () => silent.delete(path);
  return device;
}
