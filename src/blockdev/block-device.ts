import type { Sector } from "../base/units.ts";

/**
 * The cold path to a member: superblocks and foreign bitmaps, from the control plane. Whole sectors only; a range
 * past the end, a short transfer or a device error rejects with an `MdError` E_IO that names path, sector and errno.
 */
export interface BlockDevice {
  readonly path: string;
  readonly size: Sector;
  /** Bytes; transfers must be multiples of it (512 or 4096). */
  readonly logicalBlockSize: number;
  read(at: Sector, into: Uint8Array): Promise<void>;
  /** Not durable until `flush`. */
  write(at: Sector, from: Uint8Array): Promise<void>;
  flush(): Promise<void>;
  close(): Promise<void>;
}

/** How the control plane opens a member. A file's cached pages must never be what is read: another host may have written. */
export type OpenBlockDevice = (path: string, options: { readonly readOnly: boolean }) => Promise<BlockDevice>;
