import type { Superblock } from "../../superblock/superblock.ts";
import { sameUuid } from "../../superblock/uuid.ts";
import { type ArrayGeometry, SUPERBLOCK_SECTORS } from "../array-geometry.ts";
import { visibleSuperblock } from "../disk-superblocks.ts";
import type { SimDisk } from "../sim-disk.ts";
import type { SimEvent } from "../sim-event.ts";
import type { Checker, Report } from "./checker.ts";

/**
 * Events only rise (md-cluster, 15): what is written to a superblock has a higher number than what was there, and as high
 * a number as any that can be seen on another member; and a number is used once: two superblocks with the same one say
 * the same of the array. (A number may be written again: who finds an update begun finishes it under its own.)
 */
export class SuperblockEventsChecker implements Checker {
  readonly name = "events strictly increasing";
  readonly #geometry: ArrayGeometry;
  readonly #disks: ReadonlyMap<string, SimDisk>;
  readonly #report: Report;
  /** By disk: what it said before. */
  readonly #before = new Map<SimDisk, Superblock>();

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
    }
  }

  #remember(disk: SimDisk): Superblock | null {
    const found = visibleSuperblock(disk, this.#geometry);
    if (found === null) this.#before.delete(disk);
    else this.#before.set(disk, found);
    return found;
  }

  #judge(life: string, disk: SimDisk): void {
    const before = this.#before.get(disk);
    // Null in the middle of a write that lands in parts, or when it is wiped.
    const now = visibleSuperblock(disk, this.#geometry);
    if (now === null || now === before) return;
    this.#before.set(disk, now);
    // A device that is being added: no update has taken it in yet.
    if (now.events === 0) return;
    // Only a part has landed that says the same as before.
    if (before?.events === now.events && contentOf(before) === contentOf(now)) return;
    if (before !== undefined && sameUuid(before.deviceUuid, now.deviceUuid))
      this.#compare(life, disk, now, disk, before);
    for (const other of this.#disks.values()) {
      const theirs = other === disk ? null : visibleSuperblock(other, this.#geometry);
      if (theirs !== null) this.#compare(life, disk, now, other, theirs);
    }
  }

  #compare(life: string, disk: SimDisk, now: Superblock, other: SimDisk, theirs: Superblock): void {
    if (now.events > theirs.events) return;
    const what = `${life} writes events ${now.events} to ${disk.path}`;
    if (now.events < theirs.events) this.#report(`${what} after events ${theirs.events} on ${other.path}`);
    else if (contentOf(now) !== contentOf(theirs)) {
      this.#report(`${what}, which are used on ${other.path} for another state of the array`);
    }
  }
}

/** What a superblock says of the array, not of its own device. */
const contentOf = ({ devRoles, size, raidDisks, level, layout, utime, bitmapOffset }: Superblock): string =>
  JSON.stringify({ devRoles, size, raidDisks, level, layout, utime, bitmapOffset });
