import { addSpare, applyPeerUpdate, spareOf, type Transition } from "../array/array-state.ts";
import type { MdArray } from "../array/md-array.ts";
import { memberByNumber } from "../array/md-array.ts";
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
  const newest = chooseNewest(context.array, superblocks, announced);
  const accepted = new Map<number, CandidateDevice>();
  let base: Transition = { array: context.array, changes: [] };
  for (const [number, candidate] of context.candidates) {
    const superblock = await readIfAny(context, candidate.device);
    // Its superblock went through the newest update like all others, or it is not part of the array.
    const isMember =
      superblock !== null &&
      newest.events > context.array.events &&
      superblock.events === newest.events &&
      superblock.devNumber === number &&
      sameUuid(superblock.deviceUuid, candidate.deviceUuid);
    const spare = isMember ? spareOf(context.array, superblock) : null;
    if (superblock === null || spare === null || memberByNumber(context.array, number) !== null) continue;
    const added = addSpare(base.array, spare);
    base = { array: added.array, changes: [...base.changes, ...added.changes] };
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

/**
 * Takes the accepted ones among our devices and lets go of the others: the update that they waited for has come, or its
 * initiator is gone. From now on another vote may be held.
 */
export async function decideCandidates(context: NodeContext, accepted: FoundUpdate["accepted"]): Promise<void> {
  if (context.noNewDev.mode === "NL") await context.noNewDev.convert("CR");
  for (const [number, { device }] of context.candidates) {
    if (accepted.has(number)) context.devices.set(number, device);
    else await device.close();
  }
  context.candidates.clear();
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
    .filter((superblock) => isActiveRole(roleOf(superblock, superblock.devNumber)))
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
