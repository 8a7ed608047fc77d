import { inSyncMembers, type MdArray, writableMembers } from "../array/md-array.ts";
import type { Member } from "../array/member.ts";
import {
  type MemberDevices,
  type MemberFailure,
  type MetadataWrite,
  readBytes,
  writeMembers,
} from "../array/write-members.ts";
import { MdError } from "../base/md-error.ts";
import { SECTOR_SIZE, type Sector, type SlotNumber } from "../base/units.ts";
import {
  type DecodedBlock,
  decodeTakeover,
  type EpochRecord,
  encodeTakeover,
  type NodeRecord,
  type PillRecord,
  TAKEOVER_BLOCK_BYTES,
  type TakeoverRecord,
} from "./takeover-blocks.ts";
import { nodeAt, pillAt, type TakeoverLayout, takeoverLayout } from "./takeover-layout.ts";

/** What one member says. */
interface MemberRecords {
  readonly member: Member;
  readonly epoch: DecodedBlock<EpochRecord>;
  /** By slot. */
  readonly nodes: readonly DecodedBlock<NodeRecord>[];
  readonly pills: readonly DecodedBlock<PillRecord>[];
}

/** What the in-sync members say together. */
export interface TakeoverRecords {
  /** Takeovers so far, as far as any of them knows. */
  readonly generation: number;
  readonly members: readonly MemberRecords[];
}

/** Whether this array's members have room for the records. All of them must: a late writer looks at any of them. */
export const hasTakeoverRoom = (array: MdArray): boolean =>
  array.members.every((member) => takeoverLayout(array, member) !== null);

/** Reads every in-sync member that can be read. E_IO if there is none. */
export async function readTakeover(array: MdArray, devices: MemberDevices): Promise<TakeoverRecords> {
  const members: MemberRecords[] = [];
  let unread: MdError | null = null;
  for (const member of inSyncMembers(array)) {
    try {
      members.push(await readMember(array, devices, member));
    } catch (error) {
      if (!(error instanceof MdError)) throw error;
      unread = error;
    }
  }
  if (members.length === 0) throw new MdError("E_IO", "no member's takeover records can be read", { cause: unread });
  const known = members.flatMap(({ epoch, nodes, pills }) => [epoch, ...nodes, ...pills]);
  const generation = Math.max(0, ...known.map((block) => (block.type === "record" ? block.record.generation : 0)));
  return { generation, members };
}

/** The present or last owner of the slot; null if none ever introduced itself. */
export function ownerOf({ members }: TakeoverRecords, slot: SlotNumber): NodeRecord | null {
  let owner: NodeRecord | null = null;
  for (const { nodes } of members) {
    const block = nodes[slot];
    if (block?.type === "record" && (owner === null || block.record.serial > owner.serial)) owner = block.record;
  }
  return owner;
}

/** Do all members that were read say that this incarnation of the slot's owner must not write? */
export const isCondemned = ({ members }: TakeoverRecords, slot: SlotNumber, incarnation: string): boolean =>
  members.every(({ pills }) => {
    const block = pills[slot];
    return block?.type === "record" && block.record.incarnation === incarnation;
  });

/** Writes records to all members that take writes, durably. Returns those that failed. */
export const writeRecords = (
  array: MdArray,
  devices: MemberDevices,
  records: readonly TakeoverRecord[],
): Promise<readonly MemberFailure[]> =>
  writeMembers(writableMembers(array), devices, (member) =>
    records.map((record) => ({ at: placeOf(layoutOf(array, member), record), bytes: encodeTakeover(record) })),
  );

/** Blocks with nothing in them, for a device that is new to the array: whatever it held may not be taken for records. */
export function blankRecords(array: MdArray, member: Member): readonly MetadataWrite[] {
  const layout = takeoverLayout(array, member);
  return layout === null ? [] : [{ at: layout.start, bytes: new Uint8Array(layout.sectors * SECTOR_SIZE) }];
}

/** Clears the pill of a slot where it is neither blank nor a pill: a device's former content says nothing. */
export async function clearBadPills(
  array: MdArray,
  devices: MemberDevices,
  slot: SlotNumber,
): Promise<readonly MemberFailure[]> {
  const bad: Member[] = [];
  for (const member of writableMembers(array)) {
    const device = devices.get(member.number);
    if (device === undefined) continue;
    const at = pillAt(layoutOf(array, member), slot);
    const block = await readBytes(device, at, TAKEOVER_BLOCK_BYTES).catch((error: unknown) => {
      if (!(error instanceof MdError)) throw error;
      return null;
    });
    if (block !== null && decodeTakeover("pill", block, array.uuid, layoutOf(array, member).slots).type === "bad")
      bad.push(member);
  }
  return writeMembers(bad, devices, (member) => [
    { at: pillAt(layoutOf(array, member), slot), bytes: new Uint8Array(TAKEOVER_BLOCK_BYTES) },
  ]);
}

async function readMember(array: MdArray, devices: MemberDevices, member: Member): Promise<MemberRecords> {
  const device = devices.get(member.number);
  if (device === undefined) throw new MdError("E_NO_DEVICE", `member ${member.number} is not on this host`);
  const layout = layoutOf(array, member);
  const area = await readBytes(device, layout.start, layout.sectors * SECTOR_SIZE);
  const block = (at: Sector): Uint8Array => area.subarray((at - layout.start) * SECTOR_SIZE);
  const slots = Array.from({ length: layout.slots }, (_, slot) => slot);
  return {
    member,
    epoch: decodeTakeover("epoch", block(layout.epochAt), array.uuid, layout.slots),
    nodes: slots.map((slot) =>
      ofSlot(decodeTakeover("node", block(nodeAt(layout, slot)), array.uuid, layout.slots), slot),
    ),
    pills: slots.map((slot) =>
      ofSlot(decodeTakeover("pill", block(pillAt(layout, slot)), array.uuid, layout.slots), slot),
    ),
  };
}

/** A record in another slot's place is no record. */
const ofSlot = <T extends TakeoverRecord>(block: DecodedBlock<T>, slot: number): DecodedBlock<T> =>
  block.type === "record" && block.record.slot !== slot ? { type: "bad", why: "slot" } : block;

function placeOf(layout: TakeoverLayout, record: TakeoverRecord): Sector {
  if (record.kind === "epoch") return layout.epochAt;
  return record.kind === "node" ? nodeAt(layout, record.slot) : pillAt(layout, record.slot);
}

function layoutOf(array: MdArray, member: Member): TakeoverLayout {
  const layout = takeoverLayout(array, member);
  if (layout === null) throw new MdError("E_VALUE", `member ${member.number} has no room for takeover records`);
  return layout;
}
