import { inSyncMembers, type MdArray } from "../array/md-array.ts";
import type { MemberDevices, MemberFailure } from "../array/write-members.ts";
import { MdError } from "../base/md-error.ts";
import { type SlotNumber, slotNumber } from "../base/units.ts";
import type { FenceVictim } from "../dlm/fencer.ts";
import type { Env } from "../env/env.ts";
import type { PillReader } from "../fencing/pill-check.ts";
import type { NodeRecord } from "../fencing/takeover-blocks.ts";
import {
  clearBadPills,
  hasTakeoverRoom,
  isCondemned,
  ownerOf,
  readTakeover,
  writeRecords,
} from "../fencing/takeover-store.ts";

/** Who writes records, and on what. */
export interface RecordWriter {
  readonly array: MdArray;
  readonly devices: MemberDevices;
  readonly env: Env;
  readonly nodeName: string;
}

const seconds = (env: Env): number => Math.floor(env.clock.wall() / 1000);

/**
 * The owner of `slot` introduces itself on the members, before it writes anything else to them: whoever takes the slot
 * over one day names this incarnation. Returns how its data plane finds out; null when there is no room for records.
 */
export async function introduce(
  writer: RecordWriter,
  slot: SlotNumber,
  incarnation: string,
): Promise<PillReader | null> {
  const { array, devices, env, nodeName } = writer;
  if (!hasTakeoverRoom(array)) return null;
  const found = await readTakeover(array, devices);
  const before = ownerOf(found, slot);
  // Its former owner may be late, and dead to the others only: the slot is taken over from it like any other.
  const isTakeover =
    before !== null &&
    before.state === "joined" &&
    before.incarnation !== incarnation &&
    !isCondemned(found, slot, before.incarnation);
  const generation = found.generation + Number(isTakeover);
  if (isTakeover) await writePill(writer, before, generation, "one");
  const failures = [
    ...(await clearBadPills(array, devices, slot)),
    ...(await writeRecords(array, devices, [
      nodeRecord(writer, slot, { incarnation, generation, serial: (before?.serial ?? 0) + 1 }),
    ])),
  ];
  mustHaveReachedOne(writer, failures, `introduce ${nodeName}`);
  env.log.debug({ evt: "takeover.introduced", slot, incarnation, generation }, "introduced on the members");
  return { arrayUuid: array.uuid, slot, incarnation, generation };
}

/** It has left in good order: nothing of it is on its way, and nobody need be warned. */
export async function sayGoodbye(writer: RecordWriter, slot: SlotNumber, incarnation: string): Promise<void> {
  const { array, devices } = writer;
  if (!hasTakeoverRoom(array)) return;
  const found = await readTakeover(array, devices);
  const owner = ownerOf(found, slot);
  if (owner?.incarnation === incarnation) await writeRecords(array, devices, [{ ...owner, state: "left" }]);
}

/**
 * Before anything of a slot whose owner is gone is read: every member says that this incarnation must not write any more,
 * durably, and the array's takeover generation is one higher. If its owner comes back late it sees that before it writes
 * its bitmap. Returns who it was; null if nobody has to be warned. E_IO when no in-sync member takes it.
 */
export async function condemn(writer: RecordWriter, slot: SlotNumber): Promise<NodeRecord | null> {
  const { array, devices } = writer;
  if (!hasTakeoverRoom(array)) return null;
  const found = await readTakeover(array, devices);
  const owner = ownerOf(found, slot);
  if (owner === null || owner.state === "left") return null;
  if (isCondemned(found, slot, owner.incarnation)) return null;
  await writePill(writer, owner, found.generation + 1, "one");
  return owner;
}

/** As `condemn`, of every other slot: for the one node that uses an array alone, whoever did so before. */
export async function condemnOthers(writer: RecordWriter, own: SlotNumber): Promise<readonly NodeRecord[]> {
  const { array, devices } = writer;
  if (!hasTakeoverRoom(array)) return [];
  const found = await readTakeover(array, devices);
  const slots = found.members[0]?.nodes.length ?? 0;
  const condemned: NodeRecord[] = [];
  for (let n = 0; n < slots; n++) {
    const owner = n === own ? null : ownerOf(found, slotNumber(n));
    if (owner?.state !== "joined" || isCondemned(found, owner.slot, owner.incarnation)) continue;
    condemned.push(owner);
    await writePill(writer, owner, found.generation + condemned.length, "one");
  }
  return condemned;
}

/**
 * As `condemn`, for a victim that is known by name; it need not have introduced itself yet. All in-sync members must take
 * the pill: which of them the victim can read, nobody knows (E_IO otherwise). E_CANCELLED by `signal`, as long as nothing
 * is written.
 */
export async function condemnVictim(writer: RecordWriter, victim: FenceVictim, signal: AbortSignal): Promise<void> {
  const { array, devices } = writer;
  const { slot, incarnation } = victim;
  const found = await readTakeover(array, devices);
  const owner = ownerOf(found, slot);
  const isOther = owner !== null && owner.state === "joined" && owner.incarnation !== incarnation;
  // The slot's owner may be the victim's successor: a pill no newer than its join is for whom it names only.
  if (signal.aborted) throw new MdError("E_CANCELLED", `the pill for ${victim.node} was not written`);
  const spares = isOther && !isCondemned(found, slot, owner.incarnation);
  if (spares) await writePill(writer, victim, owner.generation, "all", []);
  else await writePill(writer, victim, found.generation + 1, "all");
}

/** `reach`: how many of the in-sync members must have it, and read it back. The array's generation moves with it. E_IO. */
async function writePill(
  writer: RecordWriter,
  owner: Pick<NodeRecord, "slot" | "incarnation" | "node">,
  generation: number,
  reach: "one" | "all",
  besides: readonly "epoch"[] = ["epoch"],
): Promise<void> {
  const { array, devices, env, nodeName } = writer;
  const { slot, incarnation, node } = owner;
  const { uuid: arrayUuid, bitmap } = array;
  const cluster = bitmap.clusterName;
  const said = { arrayUuid, generation, time: seconds(env), slot, incarnation, node, cluster, by: nodeName };
  const failures = await writeRecords(array, devices, [
    { kind: "pill", ...said },
    ...besides.map((kind) => ({ kind, ...said })),
  ]);
  mustHaveReachedOne(writer, failures, `warn ${node}`);
  const after = await readTakeover(array, devices);
  const told = after.members.filter(({ pills }) => {
    const pill = pills[slot];
    return pill?.type === "record" && pill.record.incarnation === incarnation;
  }).length;
  const wanted = reach === "all" ? inSyncMembers(array).length : 1;
  if (told >= wanted) return;
  const where = `${told} of ${inSyncMembers(array).length} in-sync members`;
  throw new MdError("E_IO", `the pill for ${node} in slot ${slot} reads back from ${where} only`);
}

/** A member that cannot be written fails in the array's own writes soon enough; one that is good must have been reached. */
function mustHaveReachedOne({ array, env }: RecordWriter, failures: readonly MemberFailure[], what: string): void {
  for (const { number, error } of failures) {
    if (error.code === "E_NOT_JOINED") throw error;
    env.log.warn({ evt: "takeover.record", member: number, err: error.message }, `cannot ${what} on a member`);
  }
  const failed = new Set(failures.map(({ number }) => number));
  if (inSyncMembers(array).some(({ number }) => !failed.has(number))) return;
  throw new MdError("E_IO", `cannot ${what} on any member`, { cause: failures[0]?.error });
}

function nodeRecord(
  { array, env, nodeName }: RecordWriter,
  slot: SlotNumber,
  fields: Pick<NodeRecord, "incarnation" | "generation" | "serial">,
): NodeRecord {
  const { clusterName: cluster } = array.bitmap;
  const common = { arrayUuid: array.uuid, time: seconds(env), slot, node: nodeName, cluster };
  return { kind: "node", state: "joined", ...common, ...fields };
}
