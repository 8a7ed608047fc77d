import type { Personality } from "../array/personality.ts";
import { MdError } from "../base/md-error.ts";
import type { Sector } from "../base/units.ts";
import { WriteIntent } from "../bitmap/write-intent.ts";
import { type CommandWaits, none, type Progress } from "./command-waits.ts";
import type { EngineCore } from "./engine-core.ts";
import type { EngineParts } from "./engine-parts.ts";
import { type BitmapPlace, type EngineShape, secondPlace } from "./engine-protocol.ts";

/** Commands that change what the array is, while it is served. */
export class ShapeCommands {
  readonly #options: EngineParts;
  readonly #core: EngineCore;
  readonly #waits: CommandWaits;
  #reshaping = 0;

  constructor(options: EngineParts, waits: CommandWaits) {
    this.#options = options;
    this.#core = options.core;
    this.#waits = waits;
  }

  /** A copy that began now would keep the array from coming to rest. */
  get isReshaping(): boolean {
    return this.#reshaping > 0;
  }

  /**
   * In one instant in which nothing is in flight; what has not begun by then starts anew afterwards, by the new measures.
   * No request is lost or answered by it.
   */
  reshape(shape: EngineShape): Progress {
    this.#check(shape);
    const { copies, rewrites } = this.#options;
    const leave = this.#waits.pause();
    this.#reshaping++;
    copies.abort();
    rewrites.abort();
    let written: Progress | null = null;
    return (leaseHeld) => {
      if (written !== null) return written(leaseHeld);
      if (!this.#waits.isStill || !copies.isIdle || !rewrites.isIdle || !this.#options.bitmap.isStill) return null;
      this.#reshaping--;
      leave();
      // A member may have come or gone since.
      this.#swap(shape, this.#check(shape));
      written = this.#waits.whenAllWritten();
      return written(leaseHeld);
    };
  }

  /** Pages under way go where the bitmap was. */
  keepBitmap(on: BitmapPlace | null): Progress {
    const { bitmap } = this.#options;
    const { members } = this.#core;
    if (on === null) {
      bitmap.stored = false;
      return () => (bitmap.isStill ? none : null);
    }
    for (const raidDisk of on.at.keys()) {
      if (raidDisk < 0 || raidDisk >= members.raidDisks) {
        throw new MdError("E_VALUE", `raid_disk ${raidDisk} is not below ${members.raidDisks}`);
      }
    }
    const leave = this.#waits.pause();
    let written: Progress | null = null;
    return (leaseHeld) => {
      if (written !== null) return written(leaseHeld);
      if (!this.#waits.isStill || !bitmap.isStill) return null;
      leave();
      for (const [raidDisk, at] of on.at) {
        for (const place of [raidDisk, secondPlace(raidDisk, members.room)]) members.placeBitmap(place, at);
      }
      bitmap.intent.describe(on.superblock);
      bitmap.stored = true;
      written = this.#waits.whenAllWritten();
      return written(leaseHeld);
    };
  }

  setCapacity(capacity: Sector): Progress {
    const { name } = this.#core.config;
    if (capacity > this.#core.personality.size) {
      throw new MdError("E_VALUE", `${name} has ${this.#core.personality.size} sectors, not ${capacity}`);
    }
    this.#core.capacity = capacity;
    return () => (this.#isAtWorkBeyond(capacity) ? null : none);
  }

  #swap({ syncSize, chunkSectors, need }: EngineShape, personality: Personality): void {
    const { writes, bitmap, copies } = this.#options;
    writes.startAllAnew();
    this.#core.members.setPersonality(personality);
    this.#core.personality = personality;
    if (this.#core.capacity > syncSize) this.#core.capacity = syncSize;
    bitmap.reshape(syncSize, chunkSectors, need);
    copies.reshaped();
  }

  /** Where things will be. */
  #check({ syncSize, raidDisks, chunkSectors, need }: EngineShape): Personality {
    const { members, config, personality } = this.#core;
    const refuse = (why: string): never => {
      throw new MdError("E_VALUE", `${config.name} cannot take another shape: ${why}`);
    };
    const chunks = Math.ceil(syncSize / chunkSectors);
    const { pages } = this.#options.bitmap.intent;
    if (WriteIntent.pagesOf(chunks) !== pages) refuse(`its bitmap has ${pages} pages, ${chunks} chunks take others`);
    if (need.length !== Math.ceil(chunks / 8)) refuse(`${need.length} bytes are not a bitmap of ${chunks} chunks`);
    if (raidDisks > members.room) refuse(`without another start there is room for ${members.room} members`);
    for (let disk = raidDisks; disk < members.raidDisks; disk++) {
      if (!members.isUsed(disk)) continue;
      throw new MdError("E_MEMBER_ACTIVE", `raid_disk ${disk} of ${config.name} has a member`);
    }
    return personality.resized(raidDisks, syncSize);
  }

  #isAtWorkBeyond(capacity: number): boolean {
    const { table } = this.#core;
    for (let request = 0; request < table.capacity; request++) {
      if (table.issued[request] !== 0 && table.end(request) > capacity) return true;
    }
    return false;
  }
}
