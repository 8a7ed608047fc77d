import type { BitmapKind } from "../array/md-array.ts";
import { BITMAP_PAGE_BYTES, BITMAP_SUPER_BYTES } from "../bitmap/bitmap-layout.ts";
import { copiesOf, decodeRaid10Layout, parseRaid10Layout } from "../superblock/raid10-layout.ts";
import { drawFaultKinds, type FaultKind, usualFaultKinds } from "./faults.ts";
import { fastLink, type LinkTiming } from "./lock-link.ts";
import type { SeededRandom } from "./random.ts";
import type { World } from "./world.ts";

/** Of the first page of a slot's bitmap. */
const BITS_IN_PAGE = (BITMAP_PAGE_BYTES - BITMAP_SUPER_BYTES) * 8;

/** Sectors that a member has at least. */
const LEAST_SIZE = 128;

/** What a simulation is made of, besides its seed. */
export interface Scenario {
  readonly level: 1 | 10;
  /** Copies of a RAID10 with near copies. */
  readonly near: number;
  /** Of a RAID10, as people name it; default: the near one. With other copies it is for one node. */
  readonly layout?: string;
  /** Default: clustered. */
  readonly bitmap?: BitmapKind;
  /** Members have bad-block logs; not in a cluster. Default: no. */
  readonly badBlockLog?: boolean;
  readonly nodes: number;
  readonly members: number;
  readonly spares: number;
  /** Disks that are no members yet. */
  readonly blanks: number;
  /** As stored, e.g. `any:md0`. */
  readonly arrayName: string;
  /** The members are equal when the array is made. */
  readonly assumeClean: boolean;
  /** KiB/s that each node may copy, 0 for no limit. */
  readonly syncSpeedMax: number;
  /** Milliseconds after which a disk that hangs is taken out, and is late; 0: never. */
  readonly ioTimeoutMs: number;
  readonly slowIoMs: number;
  /** Sectors of data on each member. */
  readonly size: number;
  /** Sectors of them that the array uses before it grows; default: all. */
  readonly used?: number;
  /** Bytes of a RAID10's chunk. */
  readonly stripeBytes?: number;
  readonly chunkSectors: number;
  readonly leaseMs: number;
  readonly faults: readonly FaultKind[];
  /** What `faults` are drawn from. */
  readonly drawnFrom: readonly FaultKind[];
  /** Faults that do not happen although their time comes, by their place among all: for shrinking. */
  readonly without: readonly number[];
  /** Milliseconds between faults. */
  readonly pace: readonly [number, number];
  /** Requests that a node's clients put at once, at most, and milliseconds until the next ones. */
  readonly burst: number;
  readonly think: readonly [number, number];
  readonly reads: number;
  readonly flushes: number;
  readonly zeroes: number;
  readonly fua: number;
  /** How often a node writes to blocks that another one writes to at that moment. */
  readonly contention: number;
  /** Sectors. */
  readonly longest: number;
  /** How often the ring cuts a transfer short. */
  readonly shortTransfers: number;
  /** Whether disks can zero ranges by themselves. */
  readonly zeroing: boolean;
  /** Each node's way to the lock server. */
  readonly link: LinkTiming;
  /** Clocks run this much too fast or too slow, at most (0.1: ten per cent). */
  readonly drift: number;
  /** Lines of the run's story that are kept, the last ones; default: {@link TRACE_KEPT}. */
  readonly traceLines?: number;
}

/**
 * A scenario drawn by chance: sizes, shares and faults differ from seed to seed. The worlds are small: many small ones
 * find more than a big one in the same time.
 */
export function drawScenario(world: World, fixed: Partial<Scenario> = {}): Scenario {
  // Of its own: what is drawn here must not change what happens in a scenario that is fixed.
  const random = world.random.fork();
  const scenario = withTimeouts(drawFrom(random, fixed));
  // Else there is no room to grow into.
  const grows = scenario.faults.includes("growSize") && scenario.used === undefined && mayGrow(scenario);
  if (!grows) return scenario;
  const size = Math.max(scenario.size, LEAST_SIZE + 64);
  return { ...scenario, size, used: Math.max(LEAST_SIZE, Math.floor(size * 0.6)) };
}

/** Where disks hang, members have to answer in time. */
function withTimeouts(scenario: Scenario): Scenario {
  const { faults, ioTimeoutMs, leaseMs } = scenario;
  if (!faults.includes("hangDisk") || ioTimeoutMs > 0) return scenario;
  return { ...scenario, ioTimeoutMs: leaseMs, slowIoMs: leaseMs / 10 };
}

/** With far copies an array keeps its size. */
function mayGrow({ layout }: Scenario): boolean {
  const { far, offset } = decodeRaid10Layout(wordOf(layout));
  return far === 1 || offset;
}

const wordOf = (layout = "n2"): number => parseRaid10Layout(layout) ?? 0;

function drawFrom(random: SeededRandom, fixed: Partial<Scenario>): Scenario {
  return {
    ...drawShape(random, fixed),
    // Two or three most of the time: each further node costs time and seldom adds a kind of event.
    nodes: random.pick([2, 2, 2, 3, 3, 3, 3, 4, 4, 5, 6, 8]),
    spares: random.chance(0.2) ? 1 : 0,
    blanks: random.chance(0.2) ? 1 : 0,
    arrayName: "sim:md0",
    assumeClean: true,
    syncSpeedMax: 0,
    ioTimeoutMs: 0,
    slowIoMs: 0,
    chunkSectors: random.pick([8, 16, 64]),
    leaseMs: 1000,
    // What they are drawn from must not change what else is drawn: a shrunk run names its own.
    faults: drawFaultKinds(random.fork(), fixed.drawnFrom ?? usualFaultKinds),
    drawnFrom: usualFaultKinds,
    without: [],
    pace: random.pick([
      [30, 300],
      [100, 1000],
      [500, 3000],
    ] as const),
    burst: random.integer(1, 7),
    think: random.pick([
      [1, 30],
      [5, 100],
      [50, 400],
    ] as const),
    reads: random.between(0.1, 0.5),
    flushes: random.between(0, 0.2),
    zeroes: random.between(0, 0.1),
    fua: random.between(0, 0.3),
    longest: random.pick([8, 16, 64]),
    shortTransfers: random.chance(0.3) ? 0.05 : 0,
    zeroing: random.chance(0.5),
    drift: random.chance(0.3) ? 0.1 : 0,
    link: fastLink,
    contention: random.chance(0.1) ? 0.5 : 0,
    ...drawLarge(random, fixed),
    ...fixed,
  };
}

/** A few seeds have a bitmap of two pages: those take long. */
function drawLarge(random: SeededRandom, { level, members, size, chunkSectors }: Partial<Scenario>): Partial<Scenario> {
  const isLarge = random.chance(1 / 250);
  const sectors = BITS_IN_PAGE + random.integer(1, 500);
  if (!isLarge || [level, members, size, chunkSectors].some((one) => one !== undefined)) return {};
  return { level: 1, members: 2, size: sectors, chunkSectors: 1, longest: 64 };
}

/** A caller who says how many members there are has a mirror, unless he says otherwise. */
function drawShape(
  random: SeededRandom,
  fixed: Partial<Scenario>,
): Pick<Scenario, "level" | "near" | "members" | "size"> {
  // Seldom a multiple of anything.
  const size = random.integer(LEAST_SIZE, 480);
  const isMirror = random.chance(0.75);
  const members = random.chance(0.7) ? 2 : 3;
  const near = random.pick([2, 2, 2, 3]);
  const wide = random.integer(near, 6);
  const { level = fixed.members === undefined && !isMirror ? 10 : 1 } = fixed;
  if (level === 1) return { level, near: 2, members, size };
  const copies = fixed.layout === undefined ? near : copiesOf(decodeRaid10Layout(wordOf(fixed.layout)));
  const disks = Math.max(wide, copies);
  // About as much data as a mirror of that size, and no less than a member must have.
  return { level, near, members: disks, size: Math.max(LEAST_SIZE, Math.ceil((size * copies) / disks)) };
}
