import { EVENTS_PREPARED } from "../array/add-member.ts";
import { addSpare, applyPeerUpdate, removeMember, spareOf, type Transition } from "../array/array-state.ts";
import type { MdArray } from "../array/md-array.ts";
import { memberByNumber } from "../array/md-array.ts";
import { wipeSuperblocks } from "../array/metadata-traces.ts";
import { readSuperblock } from "../array/superblock-store.ts";
import { MdError } from "../base/md-error.ts";
import type { BlockDevice } from "../blockdev/block-device.ts";
import { isActiveRole, roleOf, type Superblock } from "../superblock/superblock.ts";
import { sameUuid } from "../superblock/uuid.ts";
import type { CandidateDevice, NodeContext } from "./node-context.ts";

export interface FoundUpdate extends Transition {
  /** Confirmed devices that turned out to be part of the array now, by number. */
  readonly accepted: ReadonlyMap<number, CandidateDevice>;
  /** Some member that should carry the newest superblock does not: somebody died while writing. */
  readonly torn: boolean;
}

/**
 * What the superblocks on disk say beyond what we know. `announced` names the member to believe (METADATA_UPDATED); null:
 * the one with the most events. Nothing is changed yet. E_IO if none can be read, E_NODE_CANNOT_SEE_DEVICE if a member
 * is listed that we do not have: every write of ours would miss it.
 */
export async function readPeerUpdate(context: NodeContext, announced: number | null): Promise<FoundUpdate> {
  const superblocks = await readAll(context);
  const offered = await readCandidates(context);
  // Whoever began an update that brings a candidate in may have died when only that one had it.
  const believed = announced === null ? new Map([...superblocks, ...offered]) : superblocks;
  const newest = chooseNewest(context.array, believed, announced);
  const accepted = new Map<number, CandidateDevice>();
  let base: Transition = { array: context.array, changes: [] };
  for (const [number, candidate] of context.candidates) {
    const superblock = offered.get(number);
    // Its superblock went through the newest update like all others, or it is not part of the array.
    if (superblock === undefined || superblock.events !== newest.events) continue;
    const entered = enter(base.array, superblock);
    if (entered === null) continue;
    base = { array: entered.array, changes: [...base.changes, ...entered.changes] };
    accepted.set(number, candidate);
    superblocks.set(number, superblock);
  }
  const found = applyPeerUpdate(base.array, newest, superblocks);
  // What it said before is what we have assembled from, with `--run` perhaps without a member that it lists.
  if (newest.events > context.array.events) checkVisible(found.array, newest);
  const torn = [...superblocks].some(
    ([number, superblock]) => superblock.events < newest.events && isActiveRole(roleOf(newest, number)),
  );
  return { array: found.array, changes: [...base.changes, ...found.changes], accepted, torn };
}

/** A confirmed device becomes a member; one that was a faulty member until now begins anew. Null: it does not. */
function enter(array: MdArray, superblock: Superblock): Transition | null {
  const spare = spareOf(array, superblock);
  const known = memberByNumber(array, superblock.devNumber);
  if (spare === null) return null;
  if (known === null) return addSpare(array, spare);
  if (known.state !== "faulty" || !sameUuid(known.deviceUuid, spare.deviceUuid)) return null;
  const gone = removeMember(array, known.number);
  const added = addSpare(gone.array, spare);
  return { array: added.array, changes: [...gone.changes, ...added.changes] };
}

/**
 * Takes the accepted ones among our devices and lets go of the others: the update that they waited for has come, or its
 * initiator is gone. From now on another vote may be held. `wipe`, for who finishes what a dead initiator began: nothing
 * may take a device that was only prepared for a member.
 */
export async function decideCandidates(
  context: NodeContext,
  accepted: FoundUpdate["accepted"],
  { wipe }: { readonly wipe: boolean } = { wipe: false },
): Promise<void> {
  if (context.noNewDev.mode === "NL") await context.noNewDev.convert("CR");
  for (const [number, candidate] of context.candidates) {
    const { device } = candidate;
    if (accepted.has(number)) {
      await context.devices.get(number)?.close();
      context.devices.set(number, device);
      continue;
    }
    if (wipe) await wipePrepared(context, candidate);
    await device.close();
  }
  context.candidates.clear();
}

/** One that comes back keeps what it has: it may try again. */
async function wipePrepared(context: NodeContext, { device, deviceUuid }: CandidateDevice): Promise<void> {
  const superblock = await readIfAny(context, device);
  if (superblock === null || superblock.events !== EVENTS_PREPARED) return;
  if (!sameUuid(superblock.deviceUuid, deviceUuid)) return;
  try {
    await wipeSuperblocks(device);
  } catch (error) {
    if (!(error instanceof MdError)) throw error;
    context.env.log.warn({ evt: "not-wiped", path: device.path, err: error.message }, "a prepared superblock remains");
  }
}

/** The superblocks of confirmed devices that may have come through an update that we do not know yet. */
async function readCandidates(context: NodeContext): Promise<ReadonlyMap<number, Superblock>> {
  const offered = new Map<number, Superblock>();
  for (const [number, { device, deviceUuid }] of context.candidates) {
    const superblock = await readIfAny(context, device);
    if (superblock === null || superblock.events <= context.array.events) continue;
    const isIt = superblock.devNumber === number && sameUuid(superblock.deviceUuid, deviceUuid);
    if (isIt && sameUuid(superblock.setUuid, context.array.uuid)) offered.set(number, superblock);
  }
  return offered;
}

async function readAll(context: NodeContext): Promise<Map<number, Superblock>> {
  const read = await Promise.all(
    context.array.members
      .filter((member) => member.state !== "faulty")
      .map(async ({ number }): Promise<readonly [number, Superblock] | null> => {
        const device = context.devices.get(number);
        const superblock = device === undefined ? null : await readIfAny(context, device);
        return superblock !== null && sameUuid(superblock.setUuid, context.array.uuid) ? [number, superblock] : null;
      }),
  );
  return new Map(read.filter((entry) => entry !== null));
}

async function readIfAny(context: NodeContext, device: BlockDevice): Promise<Superblock | null> {
  try {
    return await readSuperblock(device);
  } catch (error) {
    if (!(error instanceof MdError)) throw error;
    context.env.log.warn({ evt: "superblock-unreadable", path: device.path, err: error.message }, "not believed");
    return null;
  }
}

function chooseNewest(
  array: MdArray,
  superblocks: ReadonlyMap<number, Superblock>,
  announced: number | null,
): Superblock {
  const named = announced === null ? undefined : superblocks.get(announced);
  if (named !== undefined && named.events >= array.events) return named;
  const [newest] = [...superblocks.values()]
    .filter((superblock) => superblock.events > array.events || isActiveRole(roleOf(superblock, superblock.devNumber)))
    .sort((a, b) => b.events - a.events);
  if (newest === undefined) throw new MdError("E_IO", `no superblock of "${array.name}" can be read`);
  return newest;
}

function checkVisible(array: MdArray, newest: Superblock): void {
  const unseen = newest.devRoles.findIndex(
    (role, number) => isActiveRole(role) && memberByNumber(array, number) === null,
  );
  if (unseen < 0) return;
  throw new MdError(
    "E_NODE_CANNOT_SEE_DEVICE",
    `"${array.name}" has a member number ${unseen} that is not known here`,
    {
      hint: "make the device visible on this host and assemble again",
    },
  );
}
