import type { ArrayGeometry } from "../array-geometry.ts";
import type { ContentModel } from "../content-model.ts";
import { listedSectors } from "../listed-sectors.ts";
import type { SimDisk } from "../sim-disk.ts";
import type { SimEvent } from "../sim-event.ts";
import type { Checker, Report } from "./checker.ts";

interface Write {
  readonly life: string;
  readonly lo: number;
  readonly hi: number;
}

/**
 * When a write is acknowledged, no node still takes a mirror for a full copy that has missed it (F11, I3): a failed
 * member is known as failed on all nodes first.
 */
export class MemberViewChecker implements Checker {
  readonly name = "failed on all nodes before the acknowledgement";
  readonly #geometry: ArrayGeometry;
  readonly #disks: ReadonlyMap<string, SimDisk>;
  readonly #content: ContentModel;
  readonly #report: Report;
  /** By life: the disks that its reads may come from, with their raid_disks. */
  readonly #views = new Map<string, Map<string, number>>();
  readonly #writes = new Map<number, Write>();

  constructor(geometry: ArrayGeometry, disks: ReadonlyMap<string, SimDisk>, content: ContentModel, report: Report) {
    this.#geometry = geometry;
    this.#disks = disks;
    this.#content = content;
    this.#report = report;
  }

  observe(event: SimEvent): void {
    switch (event.type) {
      case "member_view": {
        const view = this.#views.get(event.life) ?? new Map<string, number>();
        this.#views.set(event.life, view);
        // Nobody removes a member that was not faulty before.
        if (event.disk === null) break;
        if (event.state === "in_sync") view.set(event.disk, event.raidDisk);
        else view.delete(event.disk);
        break;
      }
      case "life_ended":
      case "evicted":
      case "engine_stopped":
        this.#views.delete(event.life);
        break;
      case "request":
        if (event.op === "write" || event.op === "zero") this.#writes.set(event.id, event);
        break;
      case "reply":
        if (event.errno === 0) this.#judge(event.id);
        this.#writes.delete(event.id);
        break;
      default:
    }
  }

  /** After the model has heard of the acknowledgement. */
  #judge(id: number): void {
    const write = this.#writes.get(id);
    if (write === undefined) return;
    const judged = new Set<string>();
    for (const [life, view] of this.#views) {
      for (const [path, raidDisk] of view) if (!judged.has(path)) this.#judgeCopy(write, life, raidDisk, path);
      for (const path of view.keys()) judged.add(path);
    }
  }

  #judgeCopy({ lo, hi, life: writer }: Write, life: string, raidDisk: number, path: string): void {
    const disk = this.#disks.get(path);
    for (let sector = lo; disk !== undefined && sector < hi; sector++) {
      const at = this.#geometry.sectorOn(raidDisk, sector);
      const isRead = at !== -1 && !listedSectors(disk, this.#geometry).surely(at);
      const wrong = !isRead ? null : this.#content.judge(sector, disk.versions.words, at);
      if (wrong === null) continue;
      this.#report(`a write of ${writer} is acknowledged, but ${life} may read ${path}: ${wrong}`);
      return;
    }
  }
}
