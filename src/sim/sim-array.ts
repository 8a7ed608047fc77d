import { withShape } from "../array/array-shape.ts";
import { type CreateRequest, createArray, planCreate } from "../array/create-array.ts";
import type { BitmapKind, MdArray } from "../array/md-array.ts";
import { SECTOR_SIZE, sector } from "../base/units.ts";
import { bitmapLayout } from "../bitmap/bitmap-layout.ts";
import { copiesOf, decodeRaid10Layout, parseRaid10Layout } from "../superblock/raid10-layout.ts";
import { ArrayGeometry } from "./array-geometry.ts";
import { SimBlockDevice } from "./sim-block-device.ts";
import { type DiskTiming, SimDisk } from "./sim-disk.ts";
import { SimThread } from "./sim-thread.ts";
import type { World } from "./world.ts";

export interface SimArrayOptions {
  /** Default 1; a RAID10 has two near copies, or as many as `near` says, in chunks of 4 KiB. */
  readonly level?: 1 | 10;
  readonly near?: number;
  /** As people name it. */
  readonly layout?: string;
  /** Default: clustered. */
  readonly bitmap?: BitmapKind;
  /** Members have bad-block logs; not in a cluster. Default: no. */
  readonly badBlockLog?: boolean;
  readonly members: number;
  readonly spares?: number;
  /** Disks beside them that are no members yet. */
  readonly blanks?: number;
  readonly arrayName?: string;
  /** Default: yes. Else the mirrors differ, as disks that were used before do; first copies are blank. */
  readonly assumeClean?: boolean;
  readonly slots: number;
  /** Sectors of data that each member has room for, and of a bit. */
  readonly size: number;
  /** Sectors of them that the array uses before it grows; default: all. */
  readonly used?: number;
  /** Bytes of a RAID10's chunk. */
  readonly stripeBytes?: number;
  readonly chunkSectors: number;
  readonly timing?: DiskTiming;
}

export interface SimArray {
  readonly array: MdArray;
  readonly geometry: ArrayGeometry;
  readonly disks: readonly SimDisk[];
}

export const SIM_CLUSTER = "sim";
/** That `create` makes. */
const LEAST_CHUNK_BYTES = 4096;
/** The smallest there is: requests touch many. */
const STRIPE_BYTES = 4096;

/** Disks with a fresh array on them, made by the code that `mdctl create` runs. */
export async function createSimArray(world: World, options: SimArrayOptions): Promise<SimArray> {
  const {
    level = 1,
    bitmap = "clustered",
    members,
    spares = 0,
    blanks = 0,
    slots,
    size,
    used = size,
    stripeBytes = STRIPE_BYTES,
    chunkSectors,
    assumeClean = true,
    arrayName = "sim:md0",
    badBlockLog = false,
  } = options;
  // Bitmaps, and room for the takeover records.
  const chunkBytes = chunkSectors * SECTOR_SIZE;
  const raid10 = level === 10 ? layoutOf(options) : null;
  const copies = raid10 === null ? members : copiesOf(decodeRaid10Layout(raid10));
  const layout = bitmapLayout(Math.floor((size * members) / copies), chunkBytes);
  const dataOffset = 32 + slots * layout.slotSectors + (2 * slots + 1) * 8;
  const sectors = dataOffset + size + 160;
  let geometry: ArrayGeometry | null = null;
  const disks = Array.from(
    { length: members + spares + blanks },
    (_, i) =>
      new SimDisk(world, {
        path: `/sim/d${i}`,
        sectors,
        areaOf: (at) => geometry?.areaOf(at) ?? "other",
        tellsReads: badBlockLog,
        ...(options.timing === undefined ? {} : { timing: options.timing }),
      }),
  );
  const describe = (disk: SimDisk): CreateRequest["spares"][number] => ({
    path: disk.path,
    size: sector(disk.sectors),
    deviceUuid: world.random.bytes(16),
  });
  const planned = planCreate({
    name: arrayName,
    uuid: world.random.bytes(16),
    level,
    layout: raid10,
    bitmap,
    stripeBytes: level === 10 ? stripeBytes : null,
    created: { seconds: 1_700_000_000, microseconds: 0 },
    clusterName: SIM_CLUSTER,
    slots,
    members: disks.slice(0, members).map(describe),
    spares: disks.slice(members, members + spares).map(describe),
    assumeClean,
    memberSize: sector(used),
    dataOffset: sector(dataOffset),
    chunkBytes: Math.max(chunkBytes, LEAST_CHUNK_BYTES),
    daemonSleep: 1,
    badBlockLog,
  });
  // Of less only others' arrays are. A few MiB have a bitmap of several pages so.
  const isSmall = chunkBytes < LEAST_CHUNK_BYTES;
  const array = isSmall
    ? { ...planned, bitmap: { ...planned.bitmap, layout: bitmapLayout(planned.bitmap.layout.syncSize, chunkBytes) } }
    : planned;
  geometry = new ArrayGeometry(used === size ? array : atMost(array));
  await writeArray(world, array, disks);
  if (!assumeClean) for (const [i, disk] of disks.slice(0, members).entries()) scribble(world, disk, i, geometry);
  return { array, geometry, disks };
}

async function writeArray(world: World, array: MdArray, disks: readonly SimDisk[]): Promise<void> {
  const thread = new SimThread(world, "create");
  const user = { life: "create", thread, leaseHolds: () => true };
  const devices = new Map(
    array.members.map(({ number }) => {
      const disk = disks[number];
      if (disk === undefined) throw new RangeError("more members than disks");
      return [number, new SimBlockDevice(disk, user, { readOnly: false })];
    }),
  );
  let done = false;
  world.schedule(0, thread, () => {
    void createArray(array, devices).then(() => {
      done = true;
    });
  });
  if (!(await world.run(world.now + 10_000, () => done))) throw new Error("the simulated array was not created");
}

function layoutOf({ near = 2, layout = `n${near}` }: SimArrayOptions): number {
  const word = parseRaid10Layout(layout);
  if (word === null) throw new RangeError(`no layout of a RAID10: ${layout}`);
  return word;
}

/** As large as it may become: `grow --size=max`. */
function atMost(array: MdArray): MdArray {
  const room = Math.min(...array.members.map(({ dataSize }) => dataSize));
  const step = Math.max(2, array.chunkSectors);
  const { raidDisks, chunkSectors: stripeSectors } = array;
  return withShape(array, { memberSize: sector(Math.floor(room / step) * step), raidDisks, stripeSectors });
}

/** What somebody else once wrote, safe on the disk, wherever it is not a first copy. */
function scribble({ random }: World, { versions }: SimDisk, raidDisk: number, geometry: ArrayGeometry): void {
  const { dataAt, memberSize } = geometry;
  const origin = { completed: 0 };
  const rubbish = random.bytes(SECTOR_SIZE);
  for (let at = dataAt; at < dataAt + memberSize; at++) {
    if (geometry.isFirstCopy(raidDisk, at)) continue;
    rubbish[at % SECTOR_SIZE] = at & 0xff;
    versions.land(at, at + 1, rubbish, 0, origin);
  }
  versions.makeDurable(dataAt, dataAt + memberSize, origin);
}
