import { type AssembleOptions, type Assembly, assembleArray } from "../array/assemble-array.ts";
import { MdError } from "../base/md-error.ts";
import type { BlockDevice, OpenBlockDevice } from "../blockdev/block-device.ts";

/** Opens all paths, or none. */
export async function openMembers(open: OpenBlockDevice, paths: readonly string[]): Promise<readonly BlockDevice[]> {
  if (paths.length === 0) throw new MdError("E_NO_DEVICE", "no member devices were given");
  const results = await Promise.allSettled(paths.map((path) => open(path, { readOnly: false })));
  const opened = results.flatMap((result) => (result.status === "fulfilled" ? [result.value] : []));
  const failed = results.find((result) => result.status === "rejected");
  if (failed === undefined) return opened;
  await closeAll(opened);
  throw failed.reason;
}

export async function closeAll(devices: Iterable<BlockDevice>): Promise<void> {
  await Promise.allSettled([...devices].map((device) => device.close()));
}

/** Reads the superblocks (again) and keeps the devices that are part of the array; the others are closed. */
export async function assembleOpened(devices: readonly BlockDevice[], options: AssembleOptions): Promise<Assembly> {
  const assembly = await assembleArray(devices, options);
  const used = new Set(assembly.devices.values());
  await closeAll(devices.filter((device) => !used.has(device)));
  return assembly;
}
