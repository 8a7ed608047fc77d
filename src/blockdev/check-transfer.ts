import { assert } from "../base/assert.ts";
import { MdError } from "../base/md-error.ts";
import { bytesOf, type Sector } from "../base/units.ts";
import type { BlockDevice } from "./block-device.ts";

/** Whole blocks are the caller's duty; where the device ends is a fact about the device (MdError E_IO). */
export function checkTransfer(device: BlockDevice, action: string, at: Sector, bytes: number): void {
  const { path, size, logicalBlockSize } = device;
  assert(
    at >= 0 && bytesOf(at) % logicalBlockSize === 0 && bytes % logicalBlockSize === 0,
    `${action} of ${bytes} bytes at sector ${at} of ${path} is not in whole blocks of ${logicalBlockSize}`,
  );
  if (bytesOf(at) + bytes > bytesOf(size)) {
    throw new MdError("E_IO", `cannot ${action} ${path} at sector ${at}: past its end at sector ${size}`, {
      details: { path, sector: at, errno: null },
    });
  }
}
