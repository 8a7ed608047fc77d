import { MdError } from "../../base/md-error.ts";
import { type Sector, sector } from "../../base/units.ts";
import { bufferBytesFor, type DiskShape, diskParams } from "./disk-params.ts";
import type { DeviceInfo } from "./structs.ts";
import { DeviceState, MAX_DEPTH, MAX_QUEUES, ParamAttribute, UblkFeature } from "./uapi.ts";
import { charPath, type UblkControl } from "./ublk-control.ts";
import type { UblkServerOptions } from "./ublk-server.ts";

/** Who answers the disk's requests. */
export interface DiskServer {
  readonly pid: number;
  /** Resolves once every tag of every queue waits for requests, or is about to. */
  serve(device: UblkServerOptions): Promise<void>;
  /** The device is being stopped: resolves when its queues are let go. */
  end(): Promise<void>;
}

export interface DiskWish {
  readonly queues: number;
  readonly depth: number;
  readonly size: Sector;
  readonly blockSize: number;
  readonly readOnly: boolean;
  /** Bytes of transfer memory. */
  readonly arenaBytes: number;
  /** What the driver keeps for us. */
  readonly mark: bigint;
}

/** A disk that is being served. */
export interface ServedDisk {
  readonly id: number;
  readonly queues: number;
  readonly depth: number;
  readonly readOnly: boolean;
  readonly size: Sector;
  /** It outlives its server. */
  readonly isRecoverable: boolean;
}

const { USER_RECOVERY, USER_RECOVERY_REISSUE, UPDATE_SIZE, CMD_IOCTL_ENCODE } = UblkFeature;

/**
 * A new disk. What a server had in hand when it died is asked again of the next one: the same data to the same mirrors,
 * which nobody was told of yet. When it cannot be started nothing is left behind. E_VALUE; and as UblkControl.
 */
export async function startDisk(control: UblkControl, wish: DiskWish, server: DiskServer): Promise<ServedDisk> {
  checkQueues(wish);
  const bufferBytes = bufferBytesFor(wish.arenaBytes, wish.queues * wish.depth);
  if (bufferBytes === null) {
    const why = `${wish.queues} queues of ${wish.depth} requests, and ${wish.arenaBytes} bytes of transfer memory`;
    throw new MdError("E_VALUE", "the ublk queues are too deep", { why, hint: "--queues=1 --depth=128" });
  }
  const wanted = CMD_IOCTL_ENCODE | USER_RECOVERY | USER_RECOVERY_REISSUE | (control.features & UPDATE_SIZE);
  const { queues, depth, mark } = wish;
  const info = await control.add({ queues, depth, maxIoBytes: bufferBytes, flags: wanted, mark });
  const id = info.deviceId;
  let serving = false;
  try {
    const shape = { ...wish, bufferBytes: Math.min(bufferBytes, info.maxIoBytes) };
    await control.setParams(id, diskParams(shape));
    await server.serve(serverOptions(control, info, shape));
    serving = true;
    await control.start(id, server.pid);
    return servedDisk(info, shape);
  } catch (error) {
    await endDisk(control, id, serving ? server : null);
    throw error;
  }
}

/**
 * Goes on where the server before has ended: held requests are answered from here on. The disk is as it was made.
 * E_DEVICE_BUSY while its old server lives; E_VALUE when the array does not fit it any more.
 */
export async function recoverDisk(
  control: UblkControl,
  found: DeviceInfo,
  now: Pick<DiskWish, "size" | "blockSize" | "readOnly" | "arenaBytes">,
  server: DiskServer,
): Promise<ServedDisk> {
  const id = found.deviceId;
  const params = await control.params(id);
  const readOnly = (params.attributes & ParamAttribute.READ_ONLY) !== 0;
  refuseMisfit(found, { size: sector(params.sizeSectors), blockSize: 2 ** params.logicalShift, readOnly }, now);
  await control.beginRecovery(id);
  const shape = { size: sector(params.sizeSectors), bufferBytes: found.maxIoBytes, readOnly };
  await server.serve(serverOptions(control, found, shape));
  await control.endRecovery(id, server.pid);
  const disk = servedDisk(found, shape);
  return now.size > disk.size ? growDisk(control, disk, now.size) : disk;
}

/** The disk is as large as the array, where the kernel can do that while it is used (6.16). */
export async function growDisk(control: UblkControl, disk: ServedDisk, size: Sector): Promise<ServedDisk> {
  if (!control.has(UPDATE_SIZE)) return disk;
  await control.updateSize(disk.id, size);
  return { ...disk, size };
}

/** The disk goes, and whoever waits for it gets errors; `server`: who serves it, if anybody does. */
export async function endDisk(control: UblkControl, id: number, server: Pick<DiskServer, "end"> | null): Promise<void> {
  // The server answers what it has in hand while the driver waits for that, and lets go when the driver says so.
  const [stopped, ended] = await Promise.allSettled([control.stop(id), server?.end()]);
  if (ended.status === "rejected") throw ended.reason;
  if (stopped.status === "rejected") throw stopped.reason;
  await control.remove(id);
}

/** Is nobody there who serves it, so that it can be recovered? */
export const isOrphaned = ({ state }: DeviceInfo): boolean =>
  state === DeviceState.QUIESCED || state === DeviceState.FAIL_IO;

function servedDisk(info: DeviceInfo, { size, readOnly }: Pick<DiskShape, "size" | "readOnly">): ServedDisk {
  const { deviceId: id, queues, depth, flags } = info;
  return { id, queues, depth, readOnly, size, isRecoverable: (flags & USER_RECOVERY) !== 0 };
}

function serverOptions(
  { encoded }: UblkControl,
  { deviceId, queues, depth }: DeviceInfo,
  { bufferBytes, readOnly }: Pick<DiskShape, "bufferBytes" | "readOnly">,
): UblkServerOptions {
  return { path: charPath(deviceId), queues, depth, encoded, bufferBytes, readOnly };
}

function checkQueues({ queues, depth }: DiskWish): void {
  if (queues < 1 || queues > MAX_QUEUES) throw new MdError("E_VALUE", `queues: ${queues} is not 1 to ${MAX_QUEUES}`);
  if (depth < 1 || depth > MAX_DEPTH) throw new MdError("E_VALUE", `depth: ${depth} is not 1 to ${MAX_DEPTH}`);
}

function refuseMisfit(
  { deviceId, queues, depth, maxIoBytes }: DeviceInfo,
  was: Pick<DiskWish, "size" | "blockSize" | "readOnly">,
  now: Pick<DiskWish, "size" | "blockSize" | "readOnly" | "arenaBytes">,
): void {
  const refuse = (why: string): never => {
    throw new MdError("E_VALUE", `${charPath(deviceId)} cannot be served any more`, { why });
  };
  if (was.size > now.size) refuse(`it has ${was.size} sectors, the array ${now.size}`);
  if (was.blockSize < now.blockSize) refuse(`its blocks have ${was.blockSize} bytes, the array's ${now.blockSize}`);
  if (!was.readOnly && now.readOnly) refuse("it takes writes, and the array is read-only here");
  if (queues * depth * maxIoBytes > now.arenaBytes) {
    refuse(`its buffers take ${queues * depth * maxIoBytes} bytes, and there are ${now.arenaBytes} for them`);
  }
}
