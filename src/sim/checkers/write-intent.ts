import type { BitmapKind } from "../../array/md-array.ts";
import { Feature, hasFeature, IN_SYNC } from "../../superblock/superblock.ts";
import type { ArrayGeometry } from "../array-geometry.ts";
import type { ContentModel } from "../content-model.ts";
import { inSyncLegs, type Leg, newestSuperblock, visibleSuperblock } from "../disk-superblocks.ts";
import { listedSectors } from "../listed-sectors.ts";
import type { SimDisk } from "../sim-disk.ts";
import type { SimEvent } from "../sim-event.ts";
import type { Checker, Report } from "./checker.ts";
import { SureBits } from "./sure-bits.ts";

/**
 * The write-intent rule, at every instant (F25, F26): a sector that differs between mirrors, or that a power cut could
 * make differ, lies in a chunk whose bit is set in some slot's bitmap, and would be after a power cut. Copies of what two
 * nodes wrote at once may differ without a bit, but not by chance: what each of them holds is safe (decision 23).
 */
export class WriteIntentChecker implements Checker {
  readonly name = "bit durable before data";
  readonly #geometry: ArrayGeometry;
  readonly #disks: readonly SimDisk[];
  readonly #content: ContentModel;
  readonly #report: Report;
  readonly #bits: ReadonlyMap<SimDisk, SureBits>;
  #legs: readonly Leg[] = [];
  /** By sector of the array: 1 where copies may differ. */
  readonly #uneven: Uint8Array;
  /** By chunk: how many sectors those are. */
  readonly #unevenIn: Uint32Array;
  #superblocksChanged = false;
  #logsChanged = false;
  /** What the superblocks say of the bitmap, and from where on, after whatever crash, that copies may differ. */
  #claim: Claim = { kind: "clustered", from: 0n };

  constructor(geometry: ArrayGeometry, disks: readonly SimDisk[], content: ContentModel, report: Report) {
    this.#geometry = geometry;
    this.#disks = disks;
    this.#content = content;
    this.#report = report;
    this.#uneven = new Uint8Array(geometry.size);
    this.#unevenIn = new Uint32Array(geometry.chunks);
    this.#bits = new Map(disks.map((disk) => [disk, new SureBits(geometry, disk)]));
    for (const disk of disks) disk.versions.onChange((lo, hi) => this.#changed(disk, lo, hi));
    this.#chooseLegs();
  }

  /** Superblocks are looked at when a write or flush is over: in the middle of one they are torn. */
  observe(event: SimEvent): void {
    if (this.#logsChanged) {
      this.#logsChanged = false;
      this.#lookAt(0, this.#geometry.size);
    }
    const metadata = event.type === "flushed" || event.type === "power_cut" || event.type === "write_landed";
    if (!metadata || !this.#superblocksChanged) return;
    this.#superblocksChanged = false;
    this.#chooseLegs();
  }

  #chooseLegs(): void {
    const legs = inSyncLegs(this.#disks, this.#geometry);
    const before = this.#legs;
    const { kind, from } = this.#claim;
    this.#claim = claimOf(this.#disks, this.#geometry);
    const isSame = kind === this.#claim.kind && from === this.#claim.from;
    const same = legs.every(({ disk, raidDisk }, i) => disk === before[i]?.disk && raidDisk === before[i]?.raidDisk);
    if (same && legs.length === before.length && isSame) return;
    this.#legs = legs;
    this.#lookAt(0, this.#geometry.size);
  }

  #changed(disk: SimDisk, lo: number, hi: number): void {
    switch (this.#geometry.areaOf(lo)) {
      case "data":
        this.#lookAtCopies(disk, lo, hi);
        break;
      case "bitmap":
        for (const chunk of this.#bits.get(disk)?.update(lo, hi) ?? []) this.#lostBit(chunk, lo);
        break;
      case "superblock":
        this.#superblocksChanged = true;
        this.#logsChanged = this.#geometry.logAt !== null;
        break;
      case "other":
        this.#logsChanged = this.#geometry.logAt !== null;
        break;
      default:
    }
  }

  /** What lies in [lo, hi) of a member. */
  #lookAtCopies(disk: SimDisk, lo: number, hi: number): void {
    const leg = this.#legs.find((one) => one.disk === disk);
    if (leg === undefined) return;
    let from = -1;
    let to = -1;
    for (let at = lo; at < hi; at++) {
      const sector = this.#geometry.arraySector(leg.raidDisk, at);
      if (sector === -1) continue;
      if (sector !== to) {
        if (from !== -1) this.#lookAt(from, to);
        from = sector;
      }
      to = sector + 1;
    }
    if (from !== -1) this.#lookAt(from, to);
  }

  /** Sectors of the array [lo, hi). */
  #lookAt(lo: number, hi: number): void {
    const { chunkSectors } = this.#geometry;
    for (let at = lo; at < hi; ) {
      const chunk = Math.floor(at / chunkSectors);
      const end = Math.min(hi, (chunk + 1) * chunkSectors);
      let first: number | null = null;
      for (; at < end; at++) if (this.#judge(at, chunk) && !this.#isExcused(at)) first ??= at;
      if (first === null || this.#isMarked(chunk)) continue;
      this.#report(`sector ${first} may differ between mirrors, chunk ${chunk} has no bit`);
    }
  }

  #judge(sector: number, chunk: number): boolean {
    const differs = this.#mayDiffer(sector);
    this.#unevenIn[chunk] = (this.#unevenIn[chunk] ?? 0) + Number(differs) - (this.#uneven[sector] ?? 0);
    this.#uneven[sector] = Number(differs);
    return differs;
  }

  /** A chunk that leans on a bitmap must have a bit still. */
  #lostBit(chunk: number, at: number): void {
    if (this.#unevenIn[chunk] === 0 || this.#isMarked(chunk)) return;
    const { chunkSectors } = this.#geometry;
    let sector = this.#uneven.indexOf(1, chunk * chunkSectors);
    while (sector !== -1 && sector < (chunk + 1) * chunkSectors && this.#isExcused(sector)) {
      sector = this.#uneven.indexOf(1, sector + 1);
    }
    if (sector === -1 || sector >= (chunk + 1) * chunkSectors) return;
    const slot = Math.floor((at - this.#geometry.bitmapsAt) / this.#geometry.slotSectors);
    this.#report(`chunk ${chunk} lost its last bit (slot ${slot}) while sector ${sector} may differ between mirrors`);
  }

  /** Contested, or one of its copies has rotted: nobody set a bit for that. */
  #isExcused(sector: number): boolean {
    const isRotten = this.#legs.some(({ disk, raidDisk }) =>
      disk.rotten.has(this.#geometry.sectorOn(raidDisk, sector)),
    );
    if (isRotten) return true;
    if (!this.#content.isContested(sector)) return false;
    return this.#legs.every(({ disk, raidDisk }) => {
      const at = this.#geometry.sectorOn(raidDisk, sector);
      return at === -1 || disk.versions.isSafe(at);
    });
  }

  #mayDiffer(sector: number): boolean {
    let first: SimDisk | null = null;
    let firstAt = -1;
    let copies = 0;
    let unsafe = false;
    for (const { disk, raidDisk } of this.#legs) {
      const at = this.#geometry.sectorOn(raidDisk, sector);
      // What a bad-block log lists is no copy, to anybody.
      if (at === -1 || listedSectors(disk, this.#geometry).surely(at)) continue;
      copies++;
      if (!disk.versions.isSafe(at)) unsafe = true;
      if (first === null) [first, firstAt] = [disk, at];
      else if (!first.versions.equals(disk.versions, firstAt, at)) return true;
    }
    return unsafe && copies > 1;
  }

  #isMarked(chunk: number): boolean {
    const { kind, from } = this.#claim;
    if (kind === "none") return BigInt(chunk * this.#geometry.chunkSectors) >= from;
    // Who finds an array that was left in order takes its bits for those of equal copies.
    if (kind === "internal" && from === IN_SYNC) return false;
    for (const { disk } of this.#legs) if (this.#bits.get(disk)?.anySlotHas(chunk)) return true;
    return false;
  }
}

interface Claim {
  readonly kind: BitmapKind;
  readonly from: bigint;
}

/** Of a clustered array they say nothing of that. Else the least that any superblock may leave for the next to start. */
function claimOf(disks: readonly SimDisk[], geometry: ArrayGeometry): Claim {
  const newest = newestSuperblock(disks, geometry);
  if (newest === null || hasFeature(newest, Feature.clustered)) return { kind: "clustered", from: 0n };
  let from = newest.resyncOffset;
  for (const disk of disks) {
    const superblock = visibleSuperblock(disk, geometry);
    if (superblock === null || superblock.events <= newest.events) continue;
    // One that calls other members copies says nothing of these.
    if (superblock.devRoles.join() !== newest.devRoles.join()) continue;
    if (superblock.resyncOffset > from) from = superblock.resyncOffset;
  }
  return { kind: hasFeature(newest, Feature.bitmapOffset) ? "internal" : "none", from };
}
