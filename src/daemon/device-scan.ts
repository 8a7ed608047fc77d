import { readdirSync, readFileSync, realpathSync } from "node:fs";
import { dirname, join } from "node:path";
import { readSuperblock } from "../array/superblock-store.ts";
import { MdError } from "../base/md-error.ts";
import type { Superblock } from "../superblock/superblock.ts";
import { sameUuid } from "../superblock/uuid.ts";
import { openToLook } from "./open-to-look.ts";

export interface ScannedMember {
  readonly path: string;
  readonly superblock: Superblock;
}

/** Files of a folder that may be members, at most: a folder full of mail must not become a long read. */
const MOST_FILES = 256;
const AT_ONCE = 8;

/**
 * Finds members by what is written on them, never by their paths. Looks at all block devices of this host and, where
 * files may be members, at the files beside those that are members already.
 */
export class DeviceScan {
  readonly #fileFolders = new Set<string>();
  readonly #ownDisks: () => Promise<readonly string[]>;

  /** `ownDisks`: disks that arrays are exported as. To read them would be to wait for arrays that are not there yet. */
  constructor(ownDisks: () => Promise<readonly string[]>) {
    this.#ownDisks = ownDisks;
  }

  /** Folders of file members: where others of the same array may be. */
  rememberFile(path: string): void {
    this.#fileFolders.add(dirname(path));
  }

  /** Every device with a superblock. Of several paths to one disk, one. */
  async all(): Promise<readonly ScannedMember[]> {
    const found: ScannedMember[] = [];
    const own = await this.#ownDisks();
    const isOwn = (path: string): boolean => own.some((disk) => path === disk || isPartOf(path, disk));
    const paths = [...this.#blockDevices().filter((path) => !isOwn(path)), ...this.#files()];
    for (let at = 0; at < paths.length; at += AT_ONCE) {
      const batch = await Promise.all(paths.slice(at, at + AT_ONCE).map(readMember));
      for (const member of batch) {
        if (member === null) continue;
        const twin = found.some(({ superblock }) => sameUuid(superblock.deviceUuid, member.superblock.deviceUuid));
        if (!twin) found.push(member);
      }
    }
    return found;
  }

  /** The path of the device with this superblock UUID, null if it cannot be seen here. */
  async find(deviceUuid: Uint8Array): Promise<string | null> {
    const members = await this.all();
    return members.find(({ superblock }) => sameUuid(superblock.deviceUuid, deviceUuid))?.path ?? null;
  }

  /** Mapped devices first: a disk with several paths is to be used through its multipath device. */
  #blockDevices(): readonly string[] {
    const names = readFileSync("/proc/partitions", "latin1")
      .split("\n")
      .slice(2)
      .flatMap((line) => {
        const [, , blocks, name] = line.trim().split(/\s+/);
        return name === undefined || Number(blocks) === 0 || /^(ram|zram|fd|sr)\d/.test(name) ? [] : [name];
      });
    const mapped = names.filter((name) => name.startsWith("dm-"));
    return [...mapped, ...names.filter((name) => !mapped.includes(name))].map((name) => `/dev/${name}`);
  }

  #files(): readonly string[] {
    return [...this.#fileFolders].flatMap((folder) => {
      try {
        return readdirSync(folder, { withFileTypes: true })
          .filter((entry) => entry.isFile())
          .slice(0, MOST_FILES)
          .map(({ name }) => join(folder, name));
      } catch {
        return [];
      }
    });
  }
}

/** `/dev/ublkb1p2` of `/dev/ublkb1`; not `/dev/ublkb12`. */
const isPartOf = (path: string, disk: string): boolean => path.startsWith(`${disk}p`);

/** Null for what has no superblock or cannot be read: a scan meets all kinds of devices. */
async function readMember(path: string): Promise<ScannedMember | null> {
  try {
    const device = await openToLook(path);
    try {
      return { path, superblock: await readSuperblock(device) };
    } finally {
      await device.close();
    }
  } catch (error) {
    if (error instanceof MdError) return null;
    throw error;
  }
}

/** The same device under another name? */
export function samePath(a: string, b: string): boolean {
  try {
    return realpathSync(a) === realpathSync(b);
  } catch {
    return a === b;
  }
}
