import { inSyncDisks, inSyncLegs } from "./disk-superblocks.ts";
import { listedSectors } from "./listed-sectors.ts";
import { lockFaultKinds, type NodeFaultKind, NodeFaults, nodeFaultKinds } from "./node-faults.ts";
import { Operator } from "./operator.ts";
import type { SeededRandom } from "./random.ts";
import type { SimArray } from "./sim-array.ts";
import type { SimDisk } from "./sim-disk.ts";
import type { SimLockServer } from "./sim-lock-server.ts";
import type { SimNode } from "./sim-node.ts";
import type { World } from "./world.ts";

const diskFaultKinds = [
  ...(["writeErrors", "readErrors", "deadDisk", "slowDisk", "repairDisk"] as const),
  /** It does what it is told, and says so late, perhaps when others have taken over from who asked. */
  "lateDisk",
] as const;

/** By an operator: a member is failed and wanted back, or replaced; spares come and go; it grows; a node leaves for long. */
const operatorKinds = ["moveMember", "replaceMember", "addDisk", "removeSpare", "growSize", "drain"] as const;

/**
 * An operator's check, repair, frozen or idle; a disk that answers nothing for a while. The last of all kinds, in the order
 * in which they came: of seeds that do not draw them nothing changes.
 */
const laterKinds = ["syncAction", "hangDisk"] as const;

export type FaultKind =
  | NodeFaultKind
  | (typeof diskFaultKinds)[number]
  /** What was not flushed is lost, what was under way is torn. */
  | "powerCut"
  | (typeof operatorKinds)[number]
  | (typeof laterKinds)[number];

/** Everything that can break. */
export const faultKinds: readonly FaultKind[] = [
  ...[...nodeFaultKinds, ...lockFaultKinds, ...diskFaultKinds],
  ...(["powerCut", ...operatorKinds, ...laterKinds] as const),
];

export interface FaultPlan {
  /** Which kinds happen. */
  readonly kinds: readonly FaultKind[];
  /** Milliseconds between two faults, lowest and highest. */
  readonly pace: readonly [number, number];
  /** Which do not happen, by their place among all. */
  readonly without: readonly number[];
  readonly leaseMs: number;
}

/** How often blocks that cannot be read are as new when they are written; the others stay unreadable. */
const HEALING = 0.7;

export interface FaultTargets {
  readonly world: World;
  readonly nodes: readonly SimNode[];
  readonly array: SimArray;
  readonly server: SimLockServer;
}

/** What seeds draw from that are not told otherwise: the lock server comes back empty, but never with an older state. */
export const usualFaultKinds: readonly FaultKind[] = [
  ...["crash", "pauseShort", "pauseLong", "stallControl", "cutShort", "cutLong", "stop"],
  ...["writeErrors", "readErrors", "deadDisk", "slowDisk", "repairDisk", "jumpWall", "powerCut", "restartLockServer"],
] as FaultKind[];

/** Kinds that one seed draws: a run with few kinds gets deeper into each than one with all of them. */
export function drawFaultKinds(random: SeededRandom, among: readonly FaultKind[]): readonly FaultKind[] {
  const kinds = among.filter(() => random.chance(0.3));
  return kinds.length > 0 ? kinds : ["crash"];
}

/** Breaks things, one after another, by chance; `heal` mends all that can be mended. */
export class Faults {
  readonly #targets: FaultTargets;
  readonly #plan: FaultPlan;
  readonly #nodes: NodeFaults;
  readonly #operator: Operator;
  #active = false;
  #injected = 0;
  /** Disks that have failed once: the others are left alone, so that a good copy remains. */
  readonly #hurt = new Set<SimDisk>();
  /** They hang, or a node may be about to tell the others that they did. */
  readonly #hung = new Set<SimDisk>();
  readonly log: string[] = [];

  constructor(targets: FaultTargets, plan: FaultPlan) {
    this.#targets = targets;
    this.#plan = plan;
    const { world, nodes, server } = targets;
    const say = (what: string): void => this.#say(what);
    this.#nodes = new NodeFaults({ world, nodes, server, leaseMs: plan.leaseMs, say });
    this.#operator = new Operator({ world, nodes, leaseMs: plan.leaseMs, say });
  }

  /** Those whose time has come. */
  get injected(): number {
    return this.#injected;
  }

  /** What an operator has begun is answered. */
  get isOver(): boolean {
    return this.#operator.isDone;
  }

  start(): void {
    this.#active = true;
    this.#next();
  }

  heal(): void {
    this.#active = false;
    this.#nodes.heal();
    for (const disk of this.#targets.array.disks) {
      disk.slowness = 1;
      disk.bad = [];
      disk.dead = false;
      disk.answersBy = 0;
      disk.goOn();
    }
    for (const node of this.#targets.nodes) {
      node.comeBack();
      if (this.#plan.kinds.includes("syncAction")) node.thaw();
    }
    this.#hurt.clear();
    this.#say("everything is mended");
  }

  #next(): void {
    const { world } = this.#targets;
    world.schedule(world.random.between(...this.#plan.pace), null, () => {
      if (!this.#active) return;
      const kind = world.random.pick(this.#plan.kinds);
      if (!this.#plan.without.includes(this.#injected++)) this.inject(kind);
      this.#next();
    });
  }

  /** One fault of a kind, on whatever is there to be hurt; none if nothing is. */
  inject(kind: FaultKind): void {
    switch (kind) {
      case "powerCut":
        this.powerCut();
        break;
      case "writeErrors":
      case "readErrors":
      case "deadDisk":
        this.#hurtDisk(kind);
        break;
      case "repairDisk":
        this.#repair();
        break;
      case "moveMember":
        this.#move();
        break;
      case "replaceMember":
        this.#replace();
        break;
      case "addDisk":
        this.#operator.addDisk(this.#targets.array.disks.map(({ path }) => path));
        break;
      case "removeSpare":
        this.#operator.removeSpare();
        break;
      case "growSize":
        this.#operator.growSize();
        break;
      case "drain":
        this.#drain();
        break;
      case "syncAction":
        this.#operator.syncAction(this.#targets.world.random.fork());
        break;
      case "hangDisk":
        this.#hang(this.#targets.world.random.fork());
        break;
      case "lateDisk":
        this.#late(this.#targets.world.random.pick(this.#targets.array.disks));
        break;
      case "slowDisk":
        this.#slow(this.#targets.world.random.pick(this.#targets.array.disks));
        break;
      default:
        this.#nodes.inject(kind);
    }
  }

  /** All nodes and all disks lose power at one instant. */
  powerCut(): void {
    const { nodes, array, world } = this.#targets;
    this.#say("power cut");
    for (const disk of array.disks) disk.powerCut();
    for (const node of nodes) node.kill("power cut");
    world.emit({ type: "power_cut" });
  }

  #slow(disk: SimDisk): void {
    const { world } = this.#targets;
    disk.slowness = world.random.between(2, 30);
    this.#say(`${disk.path} is ${disk.slowness.toFixed(0)} times slower`);
    world.schedule(world.random.between(100, 1000), null, () => {
      disk.slowness = 1;
    });
  }

  /** A disk that failed works again, with what it held; it stays out until it is added. */
  #repair(): void {
    const { array, world } = this.#targets;
    const inSync = inSyncDisks(array.disks, array.geometry);
    for (const disk of this.#hurt) if (inSync.includes(disk) && this.#isSound(disk)) this.#hurt.delete(disk);
    const out = [...this.#hurt].filter((disk) => !inSync.includes(disk));
    if (out.length === 0) this.#mend(inSync);
    if (out.length === 0) return;
    const disk = world.random.pick(out);
    disk.dead = false;
    disk.bad = [];
    this.#say(`${disk.path} works again and is added`);
    this.#operator.bringBack(disk.path);
  }

  /** Nothing is wrong with it, and there is nothing that nobody may read from it. */
  #isSound(disk: SimDisk): boolean {
    if (disk.dead || disk.bad.length > 0 || this.#hung.has(disk)) return false;
    return !listedSectors(disk, this.#targets.array.geometry).any;
  }

  /** With a bad-block log a disk stays in with what it cannot take; some day it can. */
  #mend(inSync: readonly SimDisk[]): void {
    const disk = [...this.#hurt].find((one) => inSync.includes(one) && !one.dead);
    if (this.#targets.array.geometry.logAt === null || disk === undefined) return;
    disk.bad = [];
    this.#say(`${disk.path} takes everything again`);
  }

  #late(disk: SimDisk): void {
    const { world } = this.#targets;
    const ms = world.random.between(10, this.#plan.leaseMs * 2.5);
    // Where members have to answer in time, one that is late is one that hangs.
    if (this.#plan.kinds.includes("hangDisk")) return;
    disk.answersBy = world.now + ms;
    this.#say(`${disk.path} answers up to ${ms.toFixed(0)} ms late`);
  }

  /** Long enough to be taken out, or not. What hangs is not hurt otherwise, and a good copy remains. */
  #hang(random: SeededRandom): void {
    const { world } = this.#targets;
    const whole = this.#dispensable().filter((disk) => !this.#hurt.has(disk));
    if (whole.length === 0) return;
    const disk = random.pick(whole);
    const ms = random.between(0, this.#plan.leaseMs * 3);
    this.#hurt.add(disk);
    this.#say(`${disk.path} hangs for ${ms.toFixed(0)} ms`);
    disk.hang();
    world.schedule(ms, null, () => disk.goOn());
    this.#hung.add(disk);
    world.schedule(ms + 4 * this.#plan.leaseMs, null, () => this.#hung.delete(disk));
  }

  #drain(): void {
    const { world, nodes } = this.#targets;
    const up = nodes.filter(({ node }) => node !== null);
    // Somebody has to stay.
    if (up.length < 2) return;
    const node = world.random.pick(up);
    const ms = world.random.between(this.#plan.leaseMs, this.#plan.leaseMs * 5);
    this.#say(`${node.name} is drained, and back in ${ms.toFixed(0)} ms at the earliest`);
    node.drain(ms);
  }

  #move(): void {
    const free = this.#dispensable();
    if (free.length > 0) this.#operator.moveMember(this.#targets.world.random.pick(free).path);
  }

  #replace(): void {
    const whole = inSyncDisks(this.#targets.array.disks, this.#targets.array.geometry);
    if (whole.length > 0) this.#operator.replaceMember(this.#targets.world.random.pick(whole).path);
  }

  /** Those without which all data still has a copy that nothing is wrong with. */
  #dispensable(): readonly SimDisk[] {
    const { array } = this.#targets;
    const legs = inSyncLegs(array.disks, array.geometry);
    const sound = legs.filter(({ disk }) => !this.#hurt.has(disk) && !this.#operator.isBusyWith(disk.path));
    return legs
      .filter((leg) => {
        const others = sound.filter((other) => other !== leg);
        return !array.geometry.isLostWith(others.map(({ raidDisk }) => raidDisk));
      })
      .map(({ disk }) => disk);
  }

  #hurtDisk(kind: "writeErrors" | "readErrors" | "deadDisk"): void {
    const { array, world } = this.#targets;
    const whole = this.#dispensable().filter((disk) => !this.#hurt.has(disk));
    if (whole.length === 0) return;
    const disk = world.random.pick(whole);
    this.#hurt.add(disk);
    const { dataAt, memberSize: size } = array.geometry;
    const lo = kind === "writeErrors" && world.random.chance(0.3) ? 0 : dataAt + world.random.integer(0, size);
    const hi = lo === 0 ? dataAt : Math.min(dataAt + size, lo + world.random.integer(1, size));
    if (kind === "deadDisk") disk.dead = true;
    else if (kind === "writeErrors") disk.bad = [{ lo, hi, read: false, write: true }];
    else disk.bad = [{ lo, hi, read: true, write: false, heals: world.random.chance(HEALING) }];
    this.#say(`${disk.path}: ${kind}${kind === "deadDisk" ? "" : ` in [${lo}, ${hi})`}`);
  }

  #say(what: string): void {
    this.log.push(`${this.#targets.world.now.toFixed(0)} ms: ${what}`);
    this.#targets.world.emit({ type: "fault", what });
  }
}
