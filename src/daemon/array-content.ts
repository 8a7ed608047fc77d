import { MdError } from "../base/md-error.ts";
import type { ArraySession } from "./array-session.ts";
import { openToLook } from "./open-to-look.ts";
import { findSignature, SIGNATURE_BYTES } from "./signatures.ts";

/** What a mirror holds, by the beginning of the first good copy; null for nothing known, or if none can be read. */
export async function contentOfArray(session: ArraySession): Promise<string | null> {
  const examination = await session.examineMember();
  if (examination === null) return null;
  const { path, superblock } = examination;
  try {
    const device = await openToLook(path);
    try {
      const start = new Uint8Array(Math.min(SIGNATURE_BYTES, superblock.size * 512));
      await device.read(superblock.dataOffset, start);
      return findSignature(start);
    } finally {
      await device.close();
    }
  } catch (error) {
    if (!(error instanceof MdError)) throw error;
    return null;
  }
}
