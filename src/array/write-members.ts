import { MdError } from "../base/md-error.ts";
import { SECTOR_SIZE, type Sector, sector } from "../base/units.ts";
import type { BlockDevice } from "../blockdev/block-device.ts";
import type { Member } from "./member.ts";

/** Open devices by member number. */
export type MemberDevices = ReadonlyMap<number, BlockDevice>;

/** A member that could not be written: it must be failed before anything relies on the write. */
export interface MemberFailure {
  readonly number: number;
  readonly error: MdError;
}

export interface MetadataWrite {
  readonly at: Sector;
  readonly bytes: Uint8Array;
}

/** Writes whole blocks of the device: what is short of one is filled up with zeros. */
export async function writePadded(device: BlockDevice, { at, bytes }: MetadataWrite): Promise<void> {
  const block = device.logicalBlockSize;
  const padded = new Uint8Array(Math.ceil(bytes.byteLength / block) * block);
  padded.set(bytes);
  await device.write(at, padded);
}

/**
 * Writes to all `members` at once and makes it durable. Resolves when every one of them has answered, with those that
 * failed; never rejects for a device.
 */
export const writeMembers = (
  members: readonly Member[],
  devices: MemberDevices,
  contentOf: (member: Member) => readonly MetadataWrite[],
): Promise<readonly MemberFailure[]> =>
  withMembers(members, devices, async (device, member) => {
    for (const write of contentOf(member)) await writePadded(device, write);
    await device.flush();
  });

/** Makes durable what `members` were told before, whoever did; resolves as `writeMembers`. */
export const flushMembers = (members: readonly Member[], devices: MemberDevices): Promise<readonly MemberFailure[]> =>
  withMembers(members, devices, (device) => device.flush());

/** Does it with all of them at once; resolves as `writeMembers`. */
export async function withMembers(
  members: readonly Member[],
  devices: MemberDevices,
  action: (device: BlockDevice, member: Member) => Promise<void>,
): Promise<readonly MemberFailure[]> {
  const results = await Promise.all(
    members.map(async (member): Promise<MemberFailure | null> => {
      try {
        const device = devices.get(member.number);
        if (device === undefined) throw new MdError("E_NO_DEVICE", `member ${member.number} is not on this host`);
        await action(device, member);
        return null;
      } catch (error) {
        if (!(error instanceof MdError)) throw error;
        return { number: member.number, error };
      }
    }),
  );
  return results.filter((result) => result !== null);
}

/** Reads `length` bytes and as many more as the device's blocks need. E_IO; E_SUPERBLOCK_BAD at no block's start. */
export async function readBytes(device: BlockDevice, at: number, length: number): Promise<Uint8Array> {
  const block = device.logicalBlockSize;
  if ((at * SECTOR_SIZE) % block !== 0) {
    throw new MdError(
      "E_SUPERBLOCK_BAD",
      `${device.path}: metadata at sector ${at} is not at a block of ${block} bytes`,
    );
  }
  const whole = new Uint8Array(Math.ceil(length / block) * block);
  await device.read(sector(at), whole);
  return whole.subarray(0, length);
}
