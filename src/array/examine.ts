import { MdError } from "../base/md-error.ts";
import type { BitmapLayout } from "../bitmap/bitmap-layout.ts";
import { countBits, mergeBits } from "../bitmap/bitmap-merge.ts";
import type { BitmapSuper } from "../bitmap/bitmap-super.ts";
import type { BlockDevice } from "../blockdev/block-device.ts";
import { Feature, hasFeature, IN_SYNC, type Superblock } from "../superblock/superblock.ts";
import { readAllSlots, readBitmapShape, type SlotContent } from "./bitmap-store.ts";
import { readSuperblock } from "./superblock-store.ts";

export interface SlotExamination extends SlotContent {
  /** Chunks with a bit. */
  readonly dirty: number;
}

export interface BitmapExamination {
  /** Of slot 0. */
  readonly super: BitmapSuper;
  readonly layout: BitmapLayout;
  readonly slots: readonly SlotExamination[];
  /** Chunks with a bit in any slot. */
  readonly unionDirty: number;
}

/** Everything that one device says of itself. A value. */
export interface Examination {
  readonly path: string;
  /** Sectors of the device. */
  readonly deviceSize: number;
  readonly superblock: Superblock;
  /** Null: no bitmap, or one that cannot be read (`bitmapError`). */
  readonly bitmap: BitmapExamination | null;
  readonly bitmapError: MdError | null;
  /**
   * Are the copies known to be equal, as far as this device knows? After an orderly stop of a clustered array the
   * superblock still says `active`: only the bitmaps tell. Null when they cannot be read.
   */
  readonly clean: boolean | null;
}

/** Superblock and all bitmaps of a device (or image file). Errors as of `readSuperblock`. */
export async function examine(device: BlockDevice): Promise<Examination> {
  const superblock = await readSuperblock(device);
  const common = { path: device.path, deviceSize: device.size, superblock };
  const inSync = superblock.resyncOffset === IN_SYNC;
  if (!hasFeature(superblock, Feature.bitmapOffset)) {
    return { ...common, bitmap: null, bitmapError: null, clean: inSync };
  }
  try {
    const bitmap = await examineBitmap(device, superblock);
    // One that is older than its array was not kept by whoever wrote last.
    const isOld = !hasFeature(superblock, Feature.clustered) && bitmap.super.events < superblock.events;
    return { ...common, bitmap, bitmapError: null, clean: inSync || (!isOld && bitmap.unionDirty === 0) };
  } catch (error) {
    if (!(error instanceof MdError)) throw error;
    return { ...common, bitmap: null, bitmapError: error, clean: null };
  }
}

async function examineBitmap(device: BlockDevice, superblock: Superblock): Promise<BitmapExamination> {
  const shape = await readBitmapShape(device, superblock);
  const { chunks } = shape.layout;
  const slots = await readAllSlots(device, superblock);
  const union = new Uint8Array(Math.ceil(chunks / 8));
  for (const { bits } of slots) mergeBits(union, bits);
  return {
    ...shape,
    slots: slots.map((slot) => ({ ...slot, dirty: countBits(slot.bits, chunks) })),
    unionDirty: countBits(union, chunks),
  };
}
