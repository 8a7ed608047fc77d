import type { Personality } from "../array/personality.ts";
import { MdError } from "../base/md-error.ts";
import { SECTOR_SIZE, sector } from "../base/units.ts";
import { WriteIntent } from "../bitmap/write-intent.ts";
import type { IoRing } from "../blockdev/io-ring.ts";
import { SuspendList } from "../resync/suspend-list.ts";
import { type ArenaPlan, planArena } from "./arena-plan.ts";
import { BitmapPath } from "./bitmap-path.ts";
import { CopyPath } from "./copy-path.ts";
import { CopyUnits } from "./copy-units.ts";
import type { EngineCore } from "./engine-core.ts";
import { type EngineConfig, roomFor } from "./engine-protocol.ts";
import { FailurePath } from "./failure-path.ts";
import { FlushPath } from "./flush-path.ts";
import { type HangParts, HangWatch } from "./hang-watch.ts";
import { KeptBuffers } from "./kept-buffers.ts";
import { rangesAtOnce } from "./leg-layout.ts";
import { MemberTable } from "./member-table.ts";
import { type Personalities, personalityOf } from "./personalities.ts";
import { PillWatch } from "./pill-watch.ts";
import { RangeLock } from "./range-lock.ts";
import { ReadPath } from "./read-path.ts";
import { RequestTable } from "./request-table.ts";
import { RewritePath } from "./rewrite-path.ts";
import type { SharedBlock } from "./shared-block.ts";
import { TAG_MASK } from "./tag.ts";
import { WritePath } from "./write-path.ts";

/** Counters of writes a chunk end below 2^14, tags of legs below 2^24. */
const MAX_QUEUE_DEPTH = 8192;

/** The paths that a request can take, over one core. */
export interface EnginePaths {
  readonly core: EngineCore;
  readonly arena: ArenaPlan;
  readonly failures: FailurePath;
  readonly pill: PillWatch;
  readonly bitmap: BitmapPath;
  readonly writes: WritePath;
  readonly reads: ReadPath;
  readonly flushes: FlushPath;
  readonly copies: CopyPath;
  readonly rewrites: RewritePath;
  readonly hangs: HangWatch;
}

/** Opens the members and lays the paths. Throws MdError: E_NO_DEVICE, E_IO, E_VALUE, E_LAST_COPY, E_LEVEL_UNSUPPORTED; then nothing is open. */
export function wirePaths(
  config: EngineConfig,
  ring: IoRing,
  shared: SharedBlock,
  { deliver, ...hooks }: Pick<EngineCore, "notify" | "startLater" | "finish"> & Pick<HangParts, "deliver">,
  personalities?: Personalities,
): EnginePaths {
  const personality = personalityOf(config, personalities);
  const room = roomFor(config.raidDisks);
  // A leg for both places of each copy of each range at work; of a flush one for each place.
  const width = 2 * Math.max(room, personality.copies * rangesAtOnce(personality));
  checkConfig(config, room, width);
  const longest = personality.contiguous(sector(0), personality.size) * SECTOR_SIZE;
  const arena = planArena(ring.arena.length, WriteIntent.pagesOf(config.bitmap.chunks), 2 * room, longest);
  const members = openMembers(ring, config, personality, room);
  const table = new RequestTable(config.queueDepth, width);
  const core: EngineCore = {
    config,
    ring,
    shared,
    personality,
    capacity: config.size,
    table,
    kept: new KeptBuffers(),
    members,
    suspended: new SuspendList(),
    balance: "balanced",
    mayAnswer: false,
    quiesced: false,
    holdsWrites: config.holdsWrites ?? false,
    stopping: false,
    closed: false,
    ...hooks,
  };
  const rewriter = table.capacity + arena.units + 1;
  const lock = new RangeLock(rewriter + 1, (holder) => {
    if (holder < table.capacity) writes.locked(holder);
    else if (holder < rewriter) copies.granted(holder);
    else rewrites.granted();
  });
  const failures = new FailurePath(core, (lo, hi) => bitmap.differs(lo, hi));
  const pill = new PillWatch(core, arena.pills.at);
  const bitmap = new BitmapPath(core, failures, pill, arena.staging.at);
  const writes = new WritePath(core, bitmap, failures, lock, arena.zeros);
  const reads = new ReadPath(core, bitmap);
  const flushes = new FlushPath(core, failures);
  const units = new CopyUnits(arena.units + 1, members.width, arena.copies.at, arena.unitBytes);
  const copies = new CopyPath(core, bitmap, failures, lock, units);
  const rewrites = new RewritePath(core, bitmap, failures, lock, { holder: rewriter, ...arena.rewrite });
  const hangs = new HangWatch(core, failures, {
    mayReadElsewhere: (leg) => reads.mayGoElsewhere(leg),
    retireUnit: (leg) => units.retire(Math.floor(leg / members.width)),
    retireRewrite: () => rewrites.retire(),
    answered: (place) => {
      if (failures.answered(place)) bitmap.settled("last_copy");
    },
    deliver,
  });
  return { core, arena, failures, pill, bitmap, writes, reads, flushes, copies, rewrites, hangs };
}

function checkConfig({ name, queueDepth, raidDisks, members }: EngineConfig, room: number, width: number): void {
  if (!Number.isInteger(queueDepth) || queueDepth < 1 || queueDepth > MAX_QUEUE_DEPTH) {
    throw new MdError("E_VALUE", `queue depth ${queueDepth} is not 1..${MAX_QUEUE_DEPTH}`);
  }
  if (queueDepth * 2 * width > TAG_MASK) {
    throw new MdError("E_VALUE", `queue depth ${queueDepth} is too much for ${raidDisks} members`);
  }
  if (members.some(({ place }) => place < 0 || place >= 2 * room || place % room >= raidDisks)) {
    throw new MdError("E_VALUE", `${name}: a member's place is of no raid_disk below ${raidDisks}`);
  }
}

function openMembers(ring: IoRing, config: EngineConfig, personality: Personality, room: number): MemberTable {
  const members = new MemberTable(ring, personality, room, config.readOnly);
  try {
    for (const member of config.members) {
      if (member.state !== "faulty") members.open(member, false);
      members.setState(member.place, member.state, member.recoveredTo);
    }
  } catch (error) {
    members.closeAll();
    throw error;
  }
  if (!members.isWhole) {
    members.closeAll();
    const lacks = members.inSync === 0 ? "has no member that is in sync" : "has data of which no copy is in sync";
    throw new MdError("E_LAST_COPY", `${config.name} ${lacks}`);
  }
  return members;
}
