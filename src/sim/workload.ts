import { SECTOR_SIZE } from "../base/units.ts";
import { BITMAP_PAGE_BYTES, BITMAP_SUPER_BYTES, pageOfBit } from "../bitmap/bitmap-layout.ts";
import type { ContentModel } from "./content-model.ts";
import { happens } from "./lock-link.ts";
import type { PortRequest, RequestPort } from "./request-port.ts";
import { SettledLives } from "./settled-lives.ts";
import type { SimEvent } from "./sim-event.ts";
import { stampSectors } from "./stamp.ts";
import type { World } from "./world.ts";

export interface WorkloadOptions {
  /** Sectors of the array. */
  readonly size: number;
  readonly chunkSectors: number;
  /** Sectors, at most. */
  readonly longest: number;
  /** Shares of the requests; the rest is writes. */
  readonly reads: number;
  readonly flushes: number;
  readonly zeroes: number;
  /** Share of the writes. */
  readonly fua: number;
  /** How often a node does not care that another one writes to the same blocks; 0: as a cluster filesystem. */
  readonly contention: number;
  /** Paths of the disks that the superblocks call full copies. */
  readonly copies: () => readonly string[];
}

/** A range that one node writes: no other node should until it is done, or surely dead. */
interface Reservation {
  readonly life: string;
  readonly lo: number;
  readonly hi: number;
}

const ESHUTDOWN = 108;

/** Chunks whose bits are the last of a page of the bitmap. */
function pageBorders(chunks: number): readonly number[] {
  const borders: number[] = [];
  for (let page = 1; page <= pageOfBit(chunks - 1); page++) {
    borders.push((page * BITMAP_PAGE_BYTES - BITMAP_SUPER_BYTES) * 8 - 1);
  }
  return borders;
}

/**
 * A file system on several nodes, as far as a disk can tell: writes of any size at any sector, several at a time and
 * overlapping on one node, but, unless it is told otherwise, never to one block from two nodes at once. Everything asked and answered goes to the
 * content model; what contradicts it is a violation.
 */
export class Workload {
  /** Errors are possible: every copy of a range may be bad. */
  errorsAllowed = false;
  readonly #world: World;
  readonly #model: ContentModel;
  readonly #options: WorkloadOptions;
  readonly #reservations = new Map<number, Reservation>();
  readonly #evicted = new Set<string>();
  /** By life: what is being filled, as far as it knows. */
  readonly #filling = new Map<string, Set<string>>();
  readonly #ended = new Set<string>();
  readonly #settled = new SettledLives();
  /** By read under way: its node, and whether a copy could not be read meanwhile. */
  readonly #reads = new Map<number, { readonly life: string; metError: boolean }>();
  readonly #hotChunks: readonly number[];
  /** What a write carries until the node has taken it. */
  readonly #scratch: Uint8Array;
  #next = 1;
  /** Acknowledged with success. */
  answered = 0;
  errors = 0;

  constructor(world: World, model: ContentModel, options: WorkloadOptions) {
    this.#world = world;
    this.#model = model;
    this.#options = options;
    const chunks = Math.ceil(options.size / options.chunkSectors);
    const hot = Array.from({ length: 3 }, () => world.random.integer(0, chunks));
    this.#hotChunks = [...hot, ...pageBorders(chunks)];
    this.#scratch = new Uint8Array(options.size * SECTOR_SIZE);
    world.observe((event) => this.#observe(event));
  }

  /** Asks for something, by chance. `size`: sectors that the array has now. */
  ask(port: RequestPort, size = this.#options.size): void {
    const { random } = this.#world;
    const { reads, flushes, zeroes, fua } = this.#options;
    const kind = random.next();
    if (kind < flushes) {
      this.flush(port);
      return;
    }
    const { lo, hi } = this.#chooseRange(size);
    if (kind < flushes + reads) this.read(port, lo, hi);
    else this.write(port, lo, hi, { fua: random.chance(fua), zero: kind < flushes + reads + zeroes });
  }

  /** False: another node writes there, or the node does not take it. */
  write(
    port: RequestPort,
    lo: number,
    hi: number,
    { fua, zero = false }: { readonly fua: boolean; readonly zero?: boolean },
    done: (errno: number) => void = () => {},
  ): boolean {
    if (this.#isReserved(port.life, lo, hi) && !happens(this.#world, this.#options.contention)) return false;
    const id = this.#next++;
    const data = zero ? null : this.#scratch.subarray(0, (hi - lo) * SECTOR_SIZE);
    if (data !== null) stampSectors(data, id, lo);
    // Of a node that is evicted already nothing may happen: neither a landing nor an acknowledgement.
    const evicted = this.#evicted.has(port.life);
    const begin = (): void => {
      if (evicted) return;
      this.#reservations.set(id, { life: port.life, lo, hi });
      this.#model.beginWrite(id, port.life, lo, hi, zero ? 0 : id);
    };
    const finish = (errno: number): void => {
      this.#reservations.delete(id);
      if (errno === 0 && evicted) this.#world.violation(`${port.life} acknowledges a write begun after its eviction`);
      if (errno === 0) this.#model.endWrite(id, fua);
      else this.#model.abandonWrite(id);
      done(errno);
    };
    return this.#submit(port, id, { op: zero ? "zero" : "write", lo, hi, fua, data }, begin, finish);
  }

  read(port: RequestPort, lo: number, hi: number, done: (errno: number) => void = () => {}): boolean {
    const id = this.#next++;
    const decided = new Set<string>();
    const begin = (): void => {
      for (let sector = lo; sector < hi; sector++) {
        for (const life of this.#model.doubtfulLives(sector)) if (this.#settled.has(life)) decided.add(life);
      }
      this.#model.beginRead(id, lo, hi);
      this.#reads.set(id, { life: port.life, metError: false });
    };
    const finish = (errno: number, data: Uint8Array | null): void => {
      const metError = this.#reads.get(id)?.metError === true;
      this.#reads.delete(id);
      if (errno !== 0 || data === null) this.#model.dropRead(id);
      else {
        // Where a crash has left the copies different, and the first cannot be read just now: it may be read again later.
        const isDecided = (sector: number): boolean =>
          !metError &&
          !this.#model.isContested(sector) &&
          this.#model.doubtfulLives(sector).every((life) => decided.has(life));
        const wrong = this.#model.endRead(id, data, isDecided);
        if (wrong !== null) this.#world.violation(`${port.life} read [${lo}, ${hi}): ${wrong}`);
      }
      done(errno);
    };
    return this.#submit(port, id, { op: "read", lo, hi, fua: false, data: null }, begin, finish);
  }

  flush(port: RequestPort, done: (errno: number) => void = () => {}): boolean {
    const id = this.#next++;
    let begun = 0;
    const begin = (): void => {
      begun = this.#model.step;
    };
    const finish = (errno: number): void => {
      if (errno === 0) this.#model.flushed(port.life, begun);
      done(errno);
    };
    return this.#submit(port, id, { op: "flush", lo: 0, hi: 0, fua: false, data: null }, begin, finish);
  }

  /** Is anything under way that may still change the disk? */
  get isQuiet(): boolean {
    return this.#reservations.size === 0;
  }

  #submit(
    port: RequestPort,
    id: number,
    request: Omit<PortRequest, "done">,
    begin: () => void,
    finish: (errno: number, data: Uint8Array | null) => void,
  ): boolean {
    const { life } = port;
    const taken = port.submit({
      ...request,
      done: (errno, data) => {
        this.#count(life, request, errno);
        finish(errno, data);
        this.#world.emit({ type: "reply", life, id, errno });
      },
    });
    if (!taken) return false;
    begin();
    const { op, lo, hi, fua } = request;
    this.#world.emit({ type: "request", life, id, op, lo, hi, fua });
    return true;
  }

  #count(life: string, { op, lo, hi }: Omit<PortRequest, "done">, errno: number): void {
    if (errno === 0) this.answered++;
    else if (errno !== ESHUTDOWN && !this.#evicted.has(life)) {
      this.errors++;
      if (this.errorsAllowed || this.#isToHearOfCopy(life)) return;
      this.#world.violation(`${life}: ${op} of [${lo}, ${hi}) failed with ${errno}`);
    }
  }

  /** A copy has just become whole, and it does not know yet: it may have lost all that it knows of. */
  #isToHearOfCopy(life: string): boolean {
    const filling = this.#filling.get(life);
    return filling !== undefined && this.#options.copies().some((path) => filling.has(path));
  }

  #see({ life, disk, state }: SimEvent & { readonly type: "member_view" }): void {
    const filling = this.#filling.get(life) ?? new Set();
    this.#filling.set(life, filling);
    if (disk === null) return;
    if (state === "rebuilding") filling.add(disk);
    else filling.delete(disk);
  }

  #observe(event: SimEvent): void {
    this.#settled.observe(event);
    switch (event.type) {
      case "life_ended":
        this.#ended.add(event.life);
        break;
      case "evicted":
        this.#evicted.add(event.life);
        this.#model.abandonLife(event.life);
        this.#release((reservation) => reservation.life === event.life);
        break;
      case "readmitted":
        this.#evicted.delete(event.life);
        break;
      case "disk_error":
        if (event.op !== "read") break;
        this.#model.mirrorLost();
        for (const read of this.#reads.values()) if (read.life === event.life) read.metError = true;
        break;
      case "power_cut":
        this.#model.powerCut();
        this.#release(() => true);
        break;
      case "member_view":
        if (event.state !== "in_sync") this.#model.mirrorLost();
        this.#see(event);
        break;
      default:
    }
  }

  #release(isOver: (reservation: Reservation) => boolean): void {
    for (const [id, reservation] of this.#reservations) if (isOver(reservation)) this.#reservations.delete(id);
  }

  #isReserved(life: string, lo: number, hi: number): boolean {
    for (const other of this.#reservations.values()) {
      if (other.life !== life && lo < other.hi && other.lo < hi) return true;
    }
    return false;
  }

  /** Half of all requests crowd into a few chunks; most do not care for chunk borders. */
  #chooseRange(size: number): { readonly lo: number; readonly hi: number } {
    const { random } = this.#world;
    const { chunkSectors, longest } = this.#options;
    const sectors = random.chance(0.3) ? 8 : random.integer(1, longest + 1);
    const start = random.chance(0.5)
      ? random.pick(this.#hotChunks) * chunkSectors + random.integer(0, chunkSectors)
      : random.integer(0, size);
    const lo = Math.max(0, Math.min(start, size - sectors));
    return { lo, hi: lo + sectors };
  }
}
