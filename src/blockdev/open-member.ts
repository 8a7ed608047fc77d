import {
  closeSync,
  constants,
  fstatSync,
  openSync,
  readFileSync,
  readSync,
  type Stats,
  statfsSync,
  statSync,
} from "node:fs";
import { MdError } from "../base/md-error.ts";
import { type Sector, sector, sectorsIn } from "../base/units.ts";
import { ioError } from "./io-error.ts";

export interface OpenMember {
  readonly fd: number;
  /** O_DIRECT: transfers must be aligned, in memory too. Otherwise the file system refuses it, and pages are cached. */
  readonly direct: boolean;
  readonly isBlockDevice: boolean;
  /** A file of tmpfs: transfers are copies, and never wait. */
  readonly inMemory: boolean;
  /** Bytes. */
  readonly logicalBlockSize: number;
  /** Where it ended when last looked at (see `holds`). A block device has none: its kernel knows best. */
  limit: number;
}

export interface OpenMemberOptions {
  readonly readOnly: boolean;
  /** Page-aligned memory to try a transfer with; null when alignment cannot be had, so that O_DIRECT cannot be used. */
  readonly aligned: Uint8Array | null;
}

const noAlignment = "aligned memory cannot be had without foreign calls (the package koffi)";
const TMPFS_MAGIC = 0x01021994;
const MAX_LOGICAL_BLOCK = 4096;

/** Opens a block device or a regular file. Throws MdError E_NO_DEVICE, E_NOT_BLOCKDEV, E_PERMISSION or E_IO. */
export function openMember(path: string, options: OpenMemberOptions): OpenMember {
  try {
    // Before opening: to open a FIFO would wait for its other end, and a character device may act on it.
    refuseOthers(path, statSync(path));
    const mode = options.readOnly ? constants.O_RDONLY : constants.O_RDWR;
    const [fd, direct] = openDirect(path, mode, options.aligned !== null);
    try {
      const stats = fstatSync(fd);
      refuseOthers(path, stats);
      const isBlockDevice = stats.isBlockDevice();
      // Its cached pages would be this host's memory of a disk that others write to.
      if (isBlockDevice && !direct)
        throw new MdError("E_IO", `cannot open ${path} with O_DIRECT`, { why: noAlignment });
      const logicalBlockSize = isBlockDevice
        ? queueLimit(stats.rdev, "logical_block_size")
        : fileBlockSize(fd, direct ? options.aligned : null);
      const limit = isBlockDevice ? Number.POSITIVE_INFINITY : sectorsIn(stats.size);
      const inMemory = !isBlockDevice && statfsSync(`/proc/self/fd/${fd}`).type === TMPFS_MAGIC;
      return { fd, direct, isBlockDevice, inMemory, logicalBlockSize, limit };
    } catch (error) {
      closeSync(fd);
      throw error;
    }
  } catch (error) {
    throw error instanceof MdError ? error : ioError("open", path, error);
  }
}

function refuseOthers(path: string, stats: Stats): void {
  if (stats.isBlockDevice() || stats.isFile()) return;
  throw new MdError("E_NOT_BLOCKDEV", `${path} is neither a block device nor a regular file`);
}

function openDirect(path: string, mode: number, wanted: boolean): [number, boolean] {
  if (wanted) {
    try {
      return [openSync(path, mode | constants.O_DIRECT), true];
    } catch (error) {
      // tmpfs before 6.6, and file systems that keep no blocks of their own.
      if ((error as NodeJS.ErrnoException).code !== "EINVAL") throw error;
    }
  }
  return [openSync(path, mode), false];
}

/** From sysfs; a partition has the limits of its disk. */
function queueLimit(device: number, name: string): number {
  const at = sysfs(device);
  for (const folder of [`${at}/queue`, `${at}/../queue`]) {
    try {
      return Number(readFileSync(`${folder}/${name}`, "latin1"));
    } catch {
      // A partition: the next folder.
    }
  }
  return MAX_LOGICAL_BLOCK;
}

const sysfs = (device: number): string => {
  // The kernel's dev_t as user space sees it: 12 + 20 bits, the low 8 of the minor at the bottom.
  const major = (device >>> 8) & 0xfff;
  const minor = (device & 0xff) | ((device >>> 12) & 0xfff00);
  return `/sys/dev/block/${major}:${minor}`;
};

/** What the file system takes: asked by doing it, as older kernels have no other way to tell. */
function fileBlockSize(fd: number, aligned: Uint8Array | null): number {
  if (aligned === null) return 512;
  try {
    readSync(fd, aligned, 0, 512, 512);
    return 512;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EINVAL") throw error;
    return MAX_LOGICAL_BLOCK;
  }
}

/** Does it reach to sector `end`? To be asked before writing: a write past the end of a file would make it longer. */
export function holds(member: OpenMember, end: number): boolean {
  if (end <= member.limit) return true;
  member.limit = memberSize(member);
  return end <= member.limit;
}

/** Its size now; a file's last partial sector does not count. */
export function memberSize(member: OpenMember): Sector {
  const stats = fstatSync(member.fd);
  if (!member.isBlockDevice) return sectorsIn(stats.size);
  return sector(Number(readFileSync(`${sysfs(stats.rdev)}/size`, "latin1")));
}
