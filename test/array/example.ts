import { type CreateRequest, planCreate } from "../../src/array/create-array.ts";
import type { MdArray } from "../../src/array/md-array.ts";
import { type Sector, sector } from "../../src/base/units.ts";
import type { BlockDevice } from "../../src/blockdev/block-device.ts";

export const DISK_SECTORS = 4096;

export const deviceUuid = (number: number): Uint8Array => new Uint8Array(16).fill(0x40 + number);

/** What `create --level=1 --cluster` asks for on devices of these sizes. */
export function createRequest(sizes: readonly number[], change: Partial<CreateRequest> = {}): CreateRequest {
  return {
    name: "any:md0",
    uuid: Uint8Array.from({ length: 16 }, (_, i) => 16 * i + 3),
    level: 1,
    created: { seconds: 1_700_000_000, microseconds: 0 },
    clusterName: "alpha",
    slots: 4,
    members: sizes.map((size, i) => ({ path: `/dev/disk${i}`, size: sector(size), deviceUuid: deviceUuid(i) })),
    spares: [],
    assumeClean: false,
    memberSize: null,
    dataOffset: null,
    chunkBytes: null,
    daemonSleep: 5,
    ...change,
  };
}

export const planFor = (devices: readonly { size: Sector }[], change: Partial<CreateRequest> = {}): MdArray =>
  planCreate(
    createRequest(
      devices.map(({ size }) => size),
      change,
    ),
  );

export const byNumber = (devices: readonly BlockDevice[]): Map<number, BlockDevice> =>
  new Map(devices.map((device, number) => [number, device]));

/** `in_sync 0`, `spare`, ... by member number. */
export const rolesOf = (array: MdArray): Record<number, string> =>
  Object.fromEntries(
    array.members.map(({ number, state, raidDisk }) => [number, raidDisk === null ? state : `${state} ${raidDisk}`]),
  );
