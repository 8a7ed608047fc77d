import { Feature, hasFeature, IN_SYNC, ROLE_FAULTY, type Superblock } from "../../superblock/superblock.ts";
import { sameUuid } from "../../superblock/uuid.ts";
import { type ArrayGeometry, SUPERBLOCK_SECTORS } from "../array-geometry.ts";
import { storedSuperblock, visibleSuperblock } from "../disk-superblocks.ts";
import type { SimDisk } from "../sim-disk.ts";
import type { SimEvent } from "../sim-event.ts";
import type { Checker, Report } from "./checker.ts";

/**
 * Events only rise (md-cluster, 15): what is written to a superblock has a higher number than what was there, and as high
 * a number as any that can be seen on another member; and a number is used once: two superblocks with the same one say
 * the same of the array. A number may be written again: who finds an update begun finishes it under its own, and who could
 * not write all that he wanted to says something else under it, but only until he tells the others of the update.
 */
export class SuperblockEventsChecker implements Checker {
  readonly name = "events strictly increasing";
  readonly #geometry: ArrayGeometry;
  readonly #disks: ReadonlyMap<string, SimDisk>;
  readonly #report: Report;
  /** By disk: what it said before. */
  readonly #before = new Map<SimDisk, Superblock>();
  /** By disk: who wrote that. */
  readonly #writers = new Map<SimDisk, string>();

  constructor(geometry: ArrayGeometry, disks: readonly SimDisk[], report: Report) {
    this.#geometry = geometry;
    this.#disks = new Map(disks.map((disk) => [disk.path, disk]));
    this.#report = report;
    for (const disk of disks) this.#remember(disk);
  }

  observe(event: SimEvent): void {
    if (event.type === "power_cut") {
      // What was not flushed is forgotten, the numbers with it.
      for (const disk of this.#disks.values()) this.#remember(disk);
    } else if (event.type === "write_landed" && event.area === "superblock") {
      const disk = this.#disks.get(event.disk);
      const { superblockAt } = this.#geometry;
      // A wipe may begin behind it.
      const touches = event.lo < superblockAt + SUPERBLOCK_SECTORS && event.hi > superblockAt;
      if (disk !== undefined && touches) this.#judge(event.life, disk);
    } else if (event.type === "message_begun" && event.message.type === "metadata_updated") {
      this.#judgeTold(event.life);
    }
  }

  /** What is told of now is the same everywhere. */
  #judgeTold(life: string): void {
    const written = [...this.#disks.values()].filter((disk) => this.#writers.get(disk) === life);
    const newest = Math.max(...written.map((disk) => this.#before.get(disk)?.events ?? 0));
    const contents = written.flatMap((disk) => {
      const superblock = this.#before.get(disk);
      return superblock?.events === newest ? [contentOf(superblock)] : [];
    });
    if (new Set(contents).size > 1) this.#report(`${life} tells of events ${newest}, under which members differ`);
  }

  #remember(disk: SimDisk): Superblock | null {
    const found = storedSuperblock(disk, this.#geometry);
    if (found === null) this.#before.delete(disk);
    else this.#before.set(disk, found);
    return found;
  }

  #judge(life: string, disk: SimDisk): void {
    const before = this.#before.get(disk);
    // Null in the middle of a write that lands in parts, or when it is wiped.
    const now = storedSuperblock(disk, this.#geometry);
    if (now === null || now === before) return;
    this.#before.set(disk, now);
    const writer = this.#writers.get(disk);
    this.#writers.set(disk, life);
    // A device that is being added: no update has taken it in yet.
    if (now.events === 0) return;
    // Only a part has landed that says the same as before.
    if (before?.events === now.events && contentOf(before) === contentOf(now)) return;
    const own = (other: SimDisk): string | undefined => (other === disk ? writer : this.#writers.get(other));
    const isUnfinished = (other: SimDisk, theirs: Superblock): boolean =>
      theirs.events === now.events && own(other) === life;
    const same = before !== undefined && sameUuid(before.deviceUuid, now.deviceUuid);
    if (same && !isUnfinished(disk, before)) this.#compare(life, disk, now, disk, before);
    for (const other of this.#disks.values()) {
      const theirs = other === disk ? null : visibleSuperblock(other, this.#geometry);
      if (theirs !== null && !isUnfinished(other, theirs)) this.#compare(life, disk, now, other, theirs);
    }
  }

  #compare(life: string, disk: SimDisk, now: Superblock, other: SimDisk, theirs: Superblock): void {
    if (now.events > theirs.events || isStepBack(now, theirs) || isOut(now, theirs)) return;
    const what = `${life} writes events ${now.events} to ${disk.path}`;
    if (now.events < theirs.events) this.#report(`${what} after events ${theirs.events} on ${other.path}`);
    else if (contentOf(now) !== contentOf(theirs)) {
      this.#report(`${what}, which are used on ${other.path} for another state of the array`);
    }
  }
}

/**
 * What a superblock says of the array, not of its own device. That one node alone has written to it, and writes no more, is
 * said under the same two numbers again and again: see `EventSteps`.
 */
function contentOf(superblock: Superblock): string {
  const { devRoles, size, raidDisks, level, layout, bitmapOffset } = superblock;
  const utime = hasFeature(superblock, Feature.clustered) ? superblock.utime : null;
  return JSON.stringify({ devRoles, size, raidDisks, level, layout, utime, bitmapOffset });
}

/** What a member was given before it was taken out, since it hung, may land long after that. */
const isOut = ({ devNumber }: Superblock, theirs: Superblock): boolean => theirs.devRoles[devNumber] === ROLE_FAULTY;

/** The array of one node is clean again, and nothing else has changed. */
function isStepBack(now: Superblock, theirs: Superblock): boolean {
  const isClean = now.resyncOffset === IN_SYNC && theirs.resyncOffset !== IN_SYNC;
  const isNext = now.events === theirs.events - 1 && !hasFeature(now, Feature.clustered);
  return isClean && isNext && contentOf(now) === contentOf(theirs);
}
