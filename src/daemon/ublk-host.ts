import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { accessSync, constants, existsSync, readdirSync } from "node:fs";
import { promisify } from "node:util";
import { MdError } from "../base/md-error.ts";
import { sector } from "../base/units.ts";
import { ioError } from "../blockdev/io-error.ts";
import type { DeviceInfo } from "../blockdev/ublk/structs.ts";
import { DeviceState } from "../blockdev/ublk/uapi.ts";
import { diskPath, UblkControl } from "../blockdev/ublk/ublk-control.ts";
import {
  type DiskServer,
  endDisk,
  isOrphaned,
  recoverDisk,
  type ServedDisk,
  startDisk,
} from "../blockdev/ublk/ublk-disk.ts";
import { CommandRing } from "../blockdev/uring/command-ring.ts";
import { loadLibc } from "../blockdev/uring/libc.ts";
import { type Clock, sleep } from "../env/clock.ts";
import type { ExportableArray, Exported } from "./array-export.ts";
import { linkPath, makeLink, removeLink } from "./device-link.ts";
import { holdersOf } from "./disk-holders.ts";

const CONTROL = "/dev/ublk-control";
const DEVICES = "/sys/class/ublk-char";
/** The upper 16 bits of the mark of a device that is mdctl's, whichever node's. */
const MAGIC = 0x6d63n;
const DEFAULT_QUEUES = 1;
const DEFAULT_DEPTH = 128;
/** Milliseconds that udev may take to let us at a new device. */
const NODE_MS = 5000;
const RETRY_MS = 20;
const run = promisify(execFile);

export interface UblkWish {
  readonly readOnly: boolean;
  readonly queues: number | null;
  readonly depth: number | null;
  /** Only a disk that is there already. */
  readonly recover: boolean;
}

/** This node's ublk disks: those that it serves, and those that a daemon before it has left. The kernel is their record. */
export class UblkHost {
  readonly #clock: Clock;
  readonly #identity: string;
  #control: UblkControl | null = null;

  constructor({ clock, cluster, node }: { readonly clock: Clock; readonly cluster: string; readonly node: string }) {
    this.#clock = clock;
    this.#identity = `${cluster}\0${node}`;
  }

  /** The driver; MdError says why it cannot be used here, and what may help. */
  async control(): Promise<UblkControl> {
    if (this.#control !== null) return this.#control;
    const libc = loadLibc();
    if (typeof libc === "string") throw new MdError("E_IO", "ublk is not available", { why: libc });
    if (!existsSync(CONTROL)) await loadDriver();
    const ring = CommandRing.open(libc, CONTROL, this.#clock);
    try {
      this.#control = await UblkControl.open(ring, this.#clock);
    } catch (error) {
      ring.close();
      throw error;
    }
    return this.#control;
  }

  /** Disks of mdctl, of any node on this host: they are served by its arrays, and no members of any. */
  async ownDisks(): Promise<readonly string[]> {
    if (deviceIds().length === 0) return [];
    const devices = await this.#devices();
    return devices.filter(isOurs).map(({ deviceId }) => diskPath(deviceId));
  }

  /** Is there a disk of mdctl's that nobody serves? */
  async hasOrphans(): Promise<boolean> {
    return deviceIds().length > 0 && (await this.#devices()).some((info) => isOurs(info) && isLeft(info));
  }

  /** Has a daemon of this node left a disk of this array? */
  async hasOrphan(uuid: string): Promise<boolean> {
    return deviceIds().length > 0 && (await this.#find(uuid)) !== null;
  }

  /**
   * Serves the array as a disk: as the one that a daemon before has left, if it has. E_ARRAY_NOT_ACTIVE when there is none
   * to `recover`; E_DEVICE_BUSY while another process serves it.
   */
  async export(array: ExportableArray, wish: UblkWish): Promise<Exported> {
    const control = await this.control();
    const server = this.#serverOf(array);
    const { arenaBytes, blockSize } = await array.seat();
    const now = { size: sector(array.size), blockSize, readOnly: wish.readOnly, arenaBytes };
    const found = await this.#find(array.uuid);
    if (found === null && wish.recover) {
      throw new MdError("E_ARRAY_NOT_ACTIVE", `${array.name} has no disk that could be recovered`, {
        hint: `mdctl map ${array.name}`,
      });
    }
    const { queues, depth } = wish;
    const mark = this.#markOf(array.uuid);
    const disk =
      found === null
        ? await startDisk(
            control,
            { ...now, queues: queues ?? DEFAULT_QUEUES, depth: depth ?? DEFAULT_DEPTH, mark },
            server,
          )
        : await this.#recover(control, found, now, server);
    return this.#exported(control, array, disk, server);
  }

  close(): void {
    this.#control?.close();
    this.#control = null;
  }

  async #recover(
    control: UblkControl,
    found: DeviceInfo,
    now: Parameters<typeof recoverDisk>[2],
    server: DiskServer,
  ): Promise<ServedDisk> {
    if (!isLeft(found) && found.serverPid !== process.pid) {
      throw new MdError("E_DEVICE_BUSY", `${diskPath(found.deviceId)} is served by process ${found.serverPid}`);
    }
    return recoverDisk(control, found, now, server);
  }

  #exported(control: UblkControl, array: ExportableArray, disk: ServedDisk, server: DiskServer): Exported {
    const device = diskPath(disk.id);
    const link = linkPath(array.name, array.uuid);
    makeLink(link, device);
    const { queues, depth, readOnly } = disk;
    return {
      frontend: "ublk",
      device,
      uri: link,
      readOnly,
      queues,
      depth,
      holders: () => holdersOf(device),
      end: async (force) => {
        removeLink(link, device);
        // In order: whoever has asked for something is answered by the array. By force: with errors, if it must be.
        if (!force) await control.stop(disk.id);
        await endDisk(control, disk.id, server);
      },
    };
  }

  #serverOf(array: ExportableArray): DiskServer {
    return {
      pid: process.pid,
      serve: async (options) => {
        await this.#untilUsable(options.path);
        await array.attach({ type: "ublk", ...options });
      },
      end: () => array.detach(),
    };
  }

  /** The node of a new device is there at once, its owner and mode later. */
  async #untilUsable(path: string): Promise<void> {
    const giveUpAt = this.#clock.now() + NODE_MS;
    for (;;) {
      try {
        accessSync(path, constants.R_OK | constants.W_OK);
        return;
      } catch (error) {
        if (this.#clock.now() >= giveUpAt) throw ioError("serve", path, error);
        await sleep(this.#clock, RETRY_MS);
      }
    }
  }

  /** The device of this node and array; one that never became a disk is of no use, and goes. */
  async #find(uuid: string): Promise<DeviceInfo | null> {
    const mark = this.#markOf(uuid);
    const control = await this.control();
    for (const info of await this.#devices()) {
      if (info.mark !== mark) continue;
      if (info.state !== DeviceState.DEAD) return info;
      await control.remove(info.deviceId);
    }
    return null;
  }

  async #devices(): Promise<readonly DeviceInfo[]> {
    const control = await this.control();
    const infos = await Promise.all(deviceIds().map((id) => control.info(id)));
    return infos.filter((info) => info !== null);
  }

  #markOf(uuid: string): bigint {
    const hash = createHash("sha256").update(`${this.#identity}\0${uuid}`).digest();
    return (MAGIC << 48n) | BigInt(hash.readUIntBE(0, 6));
  }
}

const isOurs = ({ mark }: DeviceInfo): boolean => mark >> 48n === MAGIC;

/** Its server is gone, or about to be noticed to be. */
const isLeft = (info: DeviceInfo): boolean =>
  isOrphaned(info) || (info.state === DeviceState.LIVE && !existsSync(`/proc/${info.serverPid}`));

function deviceIds(): readonly number[] {
  try {
    return readdirSync(DEVICES).flatMap((name) => /^ublkc(\d+)$/.exec(name)?.slice(1).map(Number) ?? []);
  } catch {
    return [];
  }
}

async function loadDriver(): Promise<void> {
  let why = `there is no ${CONTROL}`;
  try {
    await run("modprobe", ["ublk_drv"], { timeout: 10_000 });
  } catch (error) {
    const { code, stderr } = error as { code?: unknown; stderr?: string };
    const said = stderr?.trim().split("\n").at(-1) || `modprobe: ${String(code)}`;
    why = `${why}, and the driver cannot be loaded (${said})`;
  }
  if (!existsSync(CONTROL))
    throw new MdError("E_NO_DEVICE", "ublk is not available", { why, hint: "modprobe ublk_drv" });
}
