import { readSuperblock } from "../array/superblock-store.ts";
import { MdError } from "../base/md-error.ts";
import { bytesOf, type Sector, sector } from "../base/units.ts";
import type { BlockDevice } from "../blockdev/block-device.ts";
import type { Superblock } from "../superblock/superblock.ts";
import { mdUuidText } from "../superblock/uuid.ts";
import type { Finding } from "./control-api.ts";
import { checkDeviceUse } from "./device-use.ts";
import { openToLook } from "./open-to-look.ts";
import { findSignature, SIGNATURE_BYTES } from "./signatures.ts";

/** A future member, looked at and closed again. */
export interface Candidate {
  readonly path: string;
  readonly key: string;
  readonly size: Sector;
  readonly superblock: Superblock | null;
  /** What it holds, for the one question; empty for a blank device. */
  readonly findings: readonly Finding[];
}

/** Looks at each of these paths, reading only. E_NO_DEVICE, E_NOT_BLOCKDEV, E_DEVICE_BUSY, E_USAGE for one given twice. */
export async function lookAtCandidates(paths: readonly string[], fileMembers: boolean): Promise<readonly Candidate[]> {
  const seen = new Map<string, string>();
  const candidates: Candidate[] = [];
  for (const path of paths) {
    const { key } = checkDeviceUse(path, fileMembers);
    const twin = seen.get(key);
    if (twin !== undefined) {
      const same = twin === path ? `${path} was given twice` : `${twin} and ${path} are the same device`;
      throw new MdError("E_USAGE", same);
    }
    seen.set(key, path);
    candidates.push(await lookAt(path, key));
  }
  return candidates;
}

async function lookAt(path: string, key: string): Promise<Candidate> {
  const device = await openToLook(path);
  try {
    const superblock = await superblockOf(device);
    const content = superblock === null ? await contentOf(device) : memberText(superblock);
    const findings = content === null ? [] : [{ path, text: `${path} contains ${content}` }];
    return { path, key, size: device.size, superblock, findings };
  } finally {
    await device.close();
  }
}

/** A broken superblock is something that was there, too. */
async function superblockOf(device: BlockDevice): Promise<Superblock | null> {
  try {
    return await readSuperblock(device);
  } catch (error) {
    if (error instanceof MdError && error.code !== "E_IO") return null;
    throw error;
  }
}

async function contentOf(device: BlockDevice): Promise<string | null> {
  const bytes = Math.min(SIGNATURE_BYTES, bytesOf(device.size));
  const start = new Uint8Array(Math.floor(bytes / device.logicalBlockSize) * device.logicalBlockSize);
  if (start.length > 0) await device.read(sector(0), start);
  return findSignature(start);
}

const memberText = ({ setName, setUuid, events }: Superblock): string =>
  `a member of the array "${setName.replace(/[^\x20-\x7e]/g, "?")}" (uuid ${mdUuidText(setUuid)}, ${events} events)`;

/** What is odd about the members together. */
export function sizeFindings(candidates: readonly Candidate[]): readonly Finding[] {
  const sizes = candidates.map(({ size }) => size);
  const smallest = Math.min(...sizes);
  const largest = candidates.find(({ size }) => size === Math.max(...sizes));
  if (largest === undefined || largest.size <= smallest * 1.01) return [];
  const more = bytesOf(sector(largest.size - smallest));
  return [{ path: largest.path, text: `${largest.path} is ${more} bytes larger than the smallest member` }];
}
