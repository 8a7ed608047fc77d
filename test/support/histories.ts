import {
  activateSpares,
  addSpare,
  beginReplacement,
  failMember,
  memberRebuilt,
  removeMember,
  type Transition,
} from "../../src/array/array-state.ts";
import { membersOf } from "../../src/array/assemble-array.ts";
import { CopyGroups } from "../../src/array/copy-groups.ts";
import { inSyncDisks, isDegraded, type MdArray, memberByNumber, writableMembers } from "../../src/array/md-array.ts";
import type { Member } from "../../src/array/member.ts";
import { returningMember, returnMember } from "../../src/array/return-member.ts";
import { faultyNumbers, nextUpdate, superblockOf } from "../../src/array/superblock-of.ts";
import { writeOrder } from "../../src/array/write-order.ts";
import { MdError } from "../../src/base/md-error.ts";
import { type Choice, pickSuperblock } from "../../src/superblock/pick-superblock.ts";
import { isActiveRole, roleOf, type Superblock } from "../../src/superblock/superblock.ts";

/** A device: what its superblock says, and what it really holds. */
export interface Disk {
  readonly superblock: Superblock;
  /**
   * Which acknowledged writes it has: one letter each, in their order. A copy is stale if another's begins with its, and
   * two histories were written apart if neither begins with the other. Null: no copy of anything.
   */
  readonly data: string | null;
  /** Its bitmaps know of every write after these. */
  readonly base: string;
  /** What its bitmaps say of that: events_cleared. */
  readonly cleared: number;
}

export interface World {
  readonly disks: readonly Disk[];
  /** Null: no node has assembled the array. */
  readonly running: {
    readonly array: MdArray;
    readonly data: string;
    readonly base: string;
    readonly cleared: number;
  } | null;
  /** What led here, for people. */
  readonly story: readonly string[];
}

export type Picked = { readonly choice: Choice<Seen> } | { readonly error: MdError };
export interface Seen {
  readonly path: string;
  readonly superblock: Superblock;
  readonly disk: number;
}

const now = { seconds: 1_700_000_000, microseconds: 0 };

/** Just created and started: everybody has everything. */
export function begin(plan: MdArray): World {
  const started = nextUpdate({ ...plan, maxDev: plan.members.length }, now);
  const idle = plan.members.map(
    (member): Disk => ({ superblock: superblockOf(started, member), data: null, base: "", cleared: 0 }),
  );
  return written({ disks: idle, running: null, story: [] }, started, { data: "", base: "", cleared: 0 });
}

export function pick(disks: readonly Disk[], visible: readonly number[], force: boolean): Picked {
  const seen = visible.flatMap((disk): Seen[] => {
    const superblock = disks[disk]?.superblock;
    return superblock === undefined ? [] : [{ path: `/dev/${disk}`, superblock, disk }];
  });
  try {
    return {
      choice: pickSuperblock(seen, {
        force,
        survives: (superblock, alive) => new CopyGroups(superblock).survives(alive),
      }),
    };
  } catch (error) {
    if (!(error instanceof MdError)) throw error;
    return { error };
  }
}

/** Every world that one event may make of this one, crashes in the middle of it included. */
export function* successors(world: World, plan: MdArray): Generator<World> {
  if (world.running !== null) yield* changes(world, world.running);
  for (let mask = 1; mask < 2 ** world.disks.length; mask++) {
    const visible = world.disks.flatMap((_, disk) => (((mask >> disk) & 1) === 1 ? [disk] : []));
    for (const how of ["", "--run", "--force --run"]) {
      const started = start(world, visible, how, plan);
      if (started === null) continue;
      yield* started;
      // What starts by itself starts in the same way when it is told to.
      break;
    }
  }
}

function* changes(world: World, running: NonNullable<World["running"]>): Generator<World> {
  const { array } = running;
  for (const [disk, { superblock }] of world.disks.entries()) {
    const number = superblock.devNumber;
    const member = memberByNumber(array, number);
    const isIt = member !== null && member.deviceUuid[0] === superblock.deviceUuid[0];
    if (isIt) {
      yield* update(world, running, `fail ${disk}`, () => failMember(array, number));
      yield* update(world, running, `remove ${disk}`, () => removeMember(array, number));
      yield* update(world, running, `${disk} is rebuilt`, () => memberRebuilt(array, number));
      const spare = array.members.find(({ state }) => state === "spare");
      if (spare !== undefined) {
        yield* update(world, running, `replace ${disk}`, () => beginReplacement(array, number, spare.number));
      }
    }
    if (!isIt || member.state === "faulty") yield* comeBack(world, running, disk);
    if (!isIt) yield* add(world, running, disk);
  }
  yield* update(world, running, "spares are taken", () => activateSpares(array));
}

function* comeBack(world: World, running: NonNullable<World["running"]>, disk: number): Generator<World> {
  const from = world.disks[disk];
  if (from === undefined || from.superblock.events === 0) return;
  const found = returningMember(running.array, from.superblock, running.cleared);
  if (typeof found === "string") return;
  const label = `re-add ${disk}`;
  if (from.data === null) throw new Error(told(world, `${label}: it is no copy`));
  if (!running.data.startsWith(from.data)) throw new Error(told(world, `${label}: it was written apart`));
  if (!from.data.startsWith(running.base))
    throw new Error(told(world, `${label}: the bitmaps do not know what it lacks`));
  yield* update(world, running, label, () => returnMember(running.array, found));
}

function* add(world: World, running: NonNullable<World["running"]>, disk: number): Generator<World> {
  const { array } = running;
  const from = world.disks[disk];
  if (from === undefined || belongsToOtherHalf(world.disks, running.data, from)) return;
  let number = array.raidDisks;
  while (memberByNumber(array, number) !== null || array.faultyElsewhere.includes(number)) number++;
  const [model] = array.members;
  if (model === undefined) return;
  const whole = { recoveredTo: model.recoveredTo, byBitmap: false, isReplacement: false } as const;
  const spare: Member = {
    ...model,
    ...whole,
    number,
    raidDisk: null,
    state: "spare",
    deviceUuid: from.superblock.deviceUuid,
  };
  const bound = addSpare(array, spare);
  const offered: Disk = { ...from, superblock: superblockOf({ ...bound.array, events: 0 }, spare), data: null };
  const prepared = { ...world, disks: replaced(world.disks, disk, offered) };
  yield* update(prepared, running, `add ${disk}`, () => {
    const activated = activateSpares(bound.array);
    return { array: activated.array, changes: [...bound.changes, ...activated.changes] };
  });
  yield { ...prepared, running: null, story: [...world.story, `add ${disk}, cut short before the update`] };
}

/** Who takes a member of the other half away from it, and wipes it, has given that half up. */
const belongsToOtherHalf = (disks: readonly Disk[], data: string, { superblock }: Disk): boolean =>
  disks.some(
    (other) =>
      other.data !== null &&
      !data.startsWith(other.data) &&
      isActiveRole(roleOf(other.superblock, superblock.devNumber)),
  );

/** One event later on all members; and, cut short, on some of them. */
function* update(
  world: World,
  running: NonNullable<World["running"]>,
  label: string,
  change: () => Transition,
): Generator<World> {
  let transition: Transition;
  try {
    transition = change();
  } catch (error) {
    if (error instanceof MdError) return;
    throw error;
  }
  if (transition.changes.length === 0) return;
  const array = nextUpdate(transition.array, now);
  const rebuilt = transition.changes.flatMap((one) => (one.type === "rebuilt" ? [one.number] : []));
  const filled = world.disks.map((disk) =>
    rebuilt.includes(disk.superblock.devNumber) ? { ...disk, data: running.data } : disk,
  );
  const full = { ...world, disks: filled, running: null, story: [...world.story, label] };
  yield* cuts(full, running.array, array);
  yield written(full, array, running);
}

/** The array is assembled from these, told to all, and written to. Null: it does not start so. */
function start(world: World, visible: readonly number[], how: string, plan: MdArray): readonly World[] | null {
  const picked = pick(world.disks, visible, how.includes("force"));
  if ("error" in picked) return null;
  const { choice } = picked;
  const { superblock } = choice.freshest;
  const members = membersOf(choice);
  const array: MdArray = {
    ...plan,
    events: superblock.events,
    maxDev: superblock.devRoles.length,
    members,
    faultyElsewhere: [],
  };
  if (!new CopyGroups(array).survives(inSyncDisks(array))) return null;
  if (choice.missing.length > 0 && how === "") return null;
  const label = `assemble ${visible.join(" ")} ${how}`.trim();
  const stopped = { ...world, running: null, story: [...world.story, label] };
  const copies = choice.used
    .filter(({ role }) => role.type === "in_sync")
    .map(({ candidate }) => world.disks[candidate.disk]);
  const [first] = copies;
  if (first === undefined) throw new Error(told(world, "nothing is in sync"));
  for (const copy of copies) if (copy?.data !== first.data) throw new Error(told(world, `${label}: copies differ`));
  if (first.data === null) throw new Error(told(world, `${label}: what is no copy is taken for one`));
  const known = { data: first.data, base: first.base, cleared: first.cleared };
  // Who once went on without a member that was not here has taken it upon himself.
  const isCareful = !stopped.story.some((event) => event.includes("--run"));
  if (!how.includes("force"))
    mustBeNewest(world, first.data, isCareful ? world.disks.map((_, disk) => disk) : visible, label);
  const isTorn = choice.used.some(
    ({ candidate }) =>
      candidate.superblock.events < array.events && isActiveRole(roleOf(superblock, candidate.superblock.devNumber)),
  );
  // What was cut short is finished with its own number first, as it was; who is alone forgets faulty ones after that.
  const found = isTorn ? { ...array, faultyElsewhere: faultyNumbers(superblock) } : array;
  const repaired = isTorn ? rewritten(stopped, found, writableMembers(found)) : stopped;
  const next = nextUpdate(found, now);
  return [
    ...(isTorn ? subsets(stopped, found, writableMembers(found)) : []),
    ...cuts(repaired, found, next),
    written(repaired, next, known),
  ];
}

/** No disk of `looked` has a later copy. One that was written apart is no matter here: nobody can know of what is not here. */
function mustBeNewest(world: World, data: string, looked: readonly number[], label: string): void {
  for (const disk of looked) {
    const other = world.disks[disk]?.data ?? "";
    if (other !== data && other.startsWith(data)) throw new Error(told(world, `${label}: ${disk} has newer data`));
  }
}

function* cuts(world: World, before: MdArray, array: MdArray): Generator<World> {
  const { whole, filling, others } = writeOrder(before, array);
  let so: World = world;
  for (const members of [whole, filling, others]) {
    yield* subsets(so, array, members);
    so = rewritten(so, array, members);
  }
}

/** Some of these members have it, not all, and the power is gone. */
function* subsets(world: World, array: MdArray, members: readonly Member[]): Generator<World> {
  for (let mask = 0; mask < 2 ** members.length - 1; mask++) {
    const some = members.filter((_, i) => ((mask >> i) & 1) === 1);
    const cut = rewritten(world, array, some);
    yield {
      ...cut,
      story: [...world.story, `cut short: only ${some.map(({ number }) => number).join(" ") || "nobody"} has it`],
    };
  }
}

function rewritten(world: World, array: MdArray, members: readonly Member[]): World {
  let { disks } = world;
  for (const member of members) {
    const at = diskOf(world, member);
    const disk = disks[at];
    if (disk !== undefined) disks = replaced(disks, at, { ...disk, superblock: superblockOf(array, member) });
  }
  return { ...world, disks };
}

/** All have it, and something is written to the array. */
function written(
  world: World,
  array: MdArray,
  before: Pick<NonNullable<World["running"]>, "data" | "base" | "cleared">,
): World {
  const data = before.data + freshLetter(world, before.data);
  const known = isDegraded(array) ? before : { base: data, cleared: array.events };
  const { base, cleared } = known;
  let { disks } = rewritten(world, array, writableMembers(array));
  for (const member of writableMembers(array)) {
    const at = diskOf(world, member);
    const disk = disks[at];
    if (disk === undefined) continue;
    disks = replaced(disks, at, {
      ...disk,
      base,
      cleared,
      data: member.state === "in_sync" ? data : member.byBitmap ? disk.data : null,
    });
  }
  return { ...world, disks, running: { array, data, base, cleared } };
}

/** Devices keep their uuid over everything. */
const diskOf = ({ disks }: World, { deviceUuid }: Member): number =>
  disks.findIndex(({ superblock }) => superblock.deviceUuid[0] === deviceUuid[0]);

const replaced = (disks: readonly Disk[], at: number, disk: Disk): readonly Disk[] =>
  disks.map((one, i) => (i === at ? disk : one));

function freshLetter({ disks }: World, data: string): string {
  for (let code = 97; ; code++) {
    const letter = String.fromCharCode(code);
    if (!disks.some((disk) => disk.data?.startsWith(data + letter) || disk.base.startsWith(data + letter)))
      return letter;
  }
}

const told = ({ story }: World, end: string): string => [...story, end].join("; ");
