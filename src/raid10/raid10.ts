import { arraySize } from "../array/array-size.ts";
import { CopyGroups } from "../array/copy-groups.ts";
import type { ArrayShape, Personality } from "../array/personality.ts";
import { mustKeepCopies } from "../array/raid10-limits.ts";
import { MdError } from "../base/md-error.ts";
import { type Sector, type SectorRange, sector, sectorRange } from "../base/units.ts";
import { copiesOf, copyPlaces, decodeRaid10Layout } from "../superblock/raid10-layout.ts";

type Raid10Shape = Omit<ArrayShape, "size" | "level">;

/**
 * Chunks go round the raid_disks, each as often as there are copies: near copies side by side, far ones in another
 * section of the members, or, with offset, in the next row. Where a chunk's copies are depends on the raid_disk of the
 * first one only, so that the map is a table by it. Source: on-disk format, section 16.
 */
export class Raid10 implements Personality {
  readonly raidDisks: number;
  readonly copies: number;
  readonly size: Sector;
  readonly readsLowest: boolean;
  readonly fillPasses: number;
  readonly #shape: Raid10Shape;
  readonly #chunk: number;
  readonly #near: number;
  readonly #far: number;
  readonly #offset: boolean;
  /** Sectors between a copy and its next far one. */
  readonly #stride: number;
  /** Sectors of a member that have copies on them. */
  readonly #used: number;
  /** One copy on every member, each at the same sector: nothing is cut. */
  readonly #isMirror: boolean;
  /** By the first copy's raid_disk, `copies` entries each: raid_disk, and sectors from the first copy's row on. */
  readonly #disk: Int32Array;
  readonly #ahead: Float64Array;
  /** By far copy and raid_disk: the raid_disk of the near copy that it is one of. */
  readonly #nearDisk: Int32Array;
  readonly #groups: CopyGroups;

  /** E_LAYOUT_UNSUPPORTED for a layout without a second copy, or by which two would fall on one place. */
  constructor(shape: Raid10Shape) {
    const { raidDisks, chunkSectors } = shape;
    const layout = decodeRaid10Layout(shape.layout);
    mustKeepCopies(shape.layout, raidDisks);
    this.raidDisks = raidDisks;
    this.copies = copiesOf(layout);
    this.size = arraySize({ ...shape, level: 10 });
    this.#shape = shape;
    this.#chunk = chunkSectors;
    this.#near = layout.near;
    this.#far = layout.far;
    this.readsLowest = layout.far > 1;
    this.#offset = layout.offset;
    this.fillPasses = layout.offset ? 1 : layout.far;
    const usedChunks = Math.ceil(((this.size / chunkSectors) * this.copies) / raidDisks);
    this.#used = usedChunks * chunkSectors;
    this.#stride = layout.offset ? chunkSectors : Math.floor(usedChunks / layout.far) * chunkSectors;
    this.#isMirror = layout.far === 1 && layout.near === raidDisks;
    this.#disk = new Int32Array(raidDisks * this.copies);
    this.#ahead = new Float64Array(raidDisks * this.copies);
    this.#nearDisk = new Int32Array(layout.far * raidDisks).fill(-1);
    for (let first = 0; first < raidDisks; first++) {
      for (const [copy, { raidDisk, wrapped, far }] of copyPlaces(layout, raidDisks, first).entries()) {
        this.#disk[first * this.copies + copy] = raidDisk;
        this.#ahead[first * this.copies + copy] = (wrapped ? chunkSectors : 0) + far * this.#stride;
        if (copy < layout.far) this.#nearDisk[far * raidDisks + raidDisk] = first;
      }
    }
    this.#groups = new CopyGroups({ ...shape, level: 10 });
  }

  contiguous(at: Sector, hi: Sector): number {
    if (this.#isMirror) return hi - at;
    return Math.min(hi - at, this.#chunk - (at % this.#chunk));
  }

  map(at: Sector, raidDisk: Int32Array, sectorOnMember: Float64Array): void {
    const within = at % this.#chunk;
    // Places of copies, counted along the rows.
    const place = ((at - within) / this.#chunk) * this.#near;
    const first = place % this.raidDisks;
    const row = (place - first) / this.raidDisks;
    const from = (this.#offset ? row * this.#far : row) * this.#chunk + within;
    const entry = first * this.copies;
    for (let copy = 0; copy < this.copies; copy++) {
      raidDisk[copy] = this.#disk[entry + copy] ?? 0;
      sectorOnMember[copy] = from + (this.#ahead[entry + copy] ?? 0);
    }
  }

  arraySectorAt(raidDisk: number, sectorOnMember: number): number {
    const within = sectorOnMember % this.#chunk;
    const memberRow = (sectorOnMember - within) / this.#chunk;
    const section = this.#stride / this.#chunk;
    const far = this.#offset ? memberRow % this.#far : this.#far === 1 ? 0 : Math.floor(memberRow / section);
    if (far >= this.#far) return -1;
    const row = this.#offset ? (memberRow - far) / this.#far : memberRow - far * section;
    const place = row * this.raidDisks + (this.#nearDisk[far * this.raidDisks + raidDisk] ?? 0);
    const at = Math.floor(place / this.#near) * this.#chunk + within;
    return at < this.size ? at : -1;
  }

  survives(alive: Uint8Array): boolean {
    return this.#groups.survives(alive);
  }

  isLastCopy(raidDisk: number, alive: Uint8Array): boolean {
    return this.#groups.isLastCopy(raidDisk, alive);
  }

  resized(raidDisks: number, size: Sector): Raid10 {
    // Where nothing is cut the chunk says nothing of what is where, and may have changed since.
    const chunkSectors = this.#isMirror ? 1 : this.#chunk;
    const chunks = Math.ceil(((size / chunkSectors) * this.copies) / raidDisks);
    const shape = { ...this.#shape, chunkSectors, memberSize: sector(chunks * chunkSectors) };
    // The far sections would begin elsewhere.
    const stays = raidDisks === this.raidDisks && (this.#far === 1 || this.#offset);
    if (stays && arraySize({ ...shape, level: 10 }) === size) return new Raid10(shape);
    throw new MdError(
      "E_VALUE",
      `a RAID10 on ${this.raidDisks} members cannot become one of ${size} sectors on ${raidDisks}`,
    );
  }

  memberFilledTo(at: Sector, pass: number): Sector {
    const { lo, hi } = this.fillSection(pass);
    if (at >= this.size) return hi;
    const places = Math.floor(at / this.#chunk) * this.#near;
    return sector(lo + Math.floor(places / this.raidDisks) * this.#rowSectors);
  }

  fillSection(pass: number): SectorRange {
    const isLast = pass === this.fillPasses - 1;
    return sectorRange(pass * this.#stride, isLast ? this.#used : (pass + 1) * this.#stride);
  }

  fillFrom(memberAt: Sector): { readonly pass: number; readonly at: Sector } {
    const last = this.fillPasses - 1;
    if (memberAt >= this.#used) return { pass: last, at: this.size };
    const pass = Math.min(Math.floor(memberAt / this.#stride), last);
    return { pass, at: this.#rowsFilled(memberAt - pass * this.#stride) };
  }

  arrayFilledTo(memberAt: Sector): Sector {
    if (memberAt >= this.#used) return this.size;
    // Far copies of what comes first lie behind the other copies of all: only the last section counts.
    const lastSection = this.#offset ? 0 : (this.#far - 1) * this.#stride;
    return this.#rowsFilled(Math.max(0, memberAt - lastSection));
  }

  /** Of a section so many sectors are filled: the array sector below which all have their copies there. */
  #rowsFilled(sectors: number): Sector {
    const rows = Math.floor(sectors / this.#rowSectors);
    return sector(Math.min(this.size, Math.floor((rows * this.raidDisks) / this.#near) * this.#chunk));
  }

  /** What a row of first copies takes of a member, with the copies that come before the next row. */
  get #rowSectors(): number {
    return this.#offset ? this.#far * this.#chunk : this.#chunk;
  }
}
