import { type Examination, examine } from "../array/examine.ts";
import { MdError } from "../base/md-error.ts";
import { bytesOf, sector } from "../base/units.ts";
import { mdUuidText } from "../superblock/uuid.ts";
import { type DeviceNames, deviceNames } from "./device-names.ts";
import { openToLook } from "./open-to-look.ts";

/** What does not change while a device is a member; read from it once. */
export interface MemberFacts extends DeviceNames {
  readonly sizeBytes: number;
  readonly dataOffsetBytes: number;
}

/** Facts of an array's devices by device UUID, so that `status` never reads a disk. */
export class MemberFactsCache {
  readonly #facts = new Map<string, MemberFacts>();
  /** Seconds between flushes of the bitmap; as its superblock says. */
  flushSeconds: number | null = null;

  get(deviceUuid: Uint8Array): MemberFacts | null {
    return this.#facts.get(mdUuidText(deviceUuid)) ?? null;
  }

  /** Reads a member's superblock and bitmaps, and remembers what is worth it. Null when it cannot be read. */
  async look(path: string): Promise<Examination | null> {
    try {
      const device = await openToLook(path);
      try {
        const examination = await examine(device);
        this.#remember(path, examination);
        return examination;
      } finally {
        await device.close();
      }
    } catch (error) {
      if (error instanceof MdError) return null;
      throw error;
    }
  }

  #remember(path: string, { superblock, deviceSize, bitmap }: Examination): void {
    this.#facts.set(mdUuidText(superblock.deviceUuid), {
      ...deviceNames(path),
      sizeBytes: bytesOf(sector(deviceSize)),
      dataOffsetBytes: bytesOf(superblock.dataOffset),
    });
    if (bitmap !== null) this.flushSeconds = bitmap.super.daemonSleep;
  }
}
