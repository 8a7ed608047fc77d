import type { BitmapPath } from "./bitmap-path.ts";
import type { EngineCore } from "./engine-core.ts";

/** Of bits: on their way; on all members that count; their page could not be written. */
export type Noted = "pending" | "durable" | "lost";

/**
 * What a repair writes while a member is missing is noted for that one, as any write is: who comes back by its bitmap is
 * given only what has a bit. Before the write, so that a crash behind it cannot lose the note.
 *
 * While no member is missing no bit is set: after a crash it would have the chunk copied from the first mirror, whichever
 * was called right. So what was written until a member goes, in the middle of the repair, is noted when the repair ends.
 */
export class RepairNotes {
  readonly #core: EngineCore;
  readonly #bitmap: BitmapPath;
  /** By unit: the range whose bits it holds, empty for none. */
  readonly #lo: Float64Array;
  readonly #hi: Float64Array;
  /** Chunks that were written without a note. */
  readonly #late = new Set<number>();
  #holdsLate = false;

  constructor(core: EngineCore, bitmap: BitmapPath, units: number) {
    this.#core = core;
    this.#bitmap = bitmap;
    this.#lo = new Float64Array(units);
    this.#hi = new Float64Array(units);
  }

  /** Another repair begins. */
  begin(): void {
    this.#late.clear();
  }

  /** [lo, hi) is to be written by the unit: only when it is durable. Asked again until it is. */
  before(unit: number, lo: number, hi: number): Noted {
    if (this.#hi[unit] === 0) {
      if (!this.#core.members.isDegraded) {
        const { chunkSectors } = this.#bitmap;
        for (let chunk = Math.floor(lo / chunkSectors); chunk * chunkSectors < hi; chunk++) this.#late.add(chunk);
        return "durable";
      }
      this.#lo[unit] = lo;
      this.#hi[unit] = hi;
      this.#bitmap.startWrite(lo, hi);
    }
    return this.#standing(lo, hi);
  }

  /** The unit's range is written, or given up. Its bits stay for as long as a member is missing. */
  after(unit: number): void {
    const hi = this.#hi[unit] ?? 0;
    if (hi > 0) this.#bitmap.endWrite(this.#lo[unit] ?? 0, hi, false);
    this.#hi[unit] = 0;
  }

  /** The repair ends; asked again while it is pending. */
  end(): Noted {
    if (!this.#holdsLate) {
      if (!this.#core.members.isDegraded || this.#late.size === 0) return "durable";
      this.#holdsLate = true;
      this.#eachLate((lo, hi) => this.#bitmap.startWrite(lo, hi));
    }
    const found = new Set<Noted>();
    this.#eachLate((lo, hi) => {
      found.add(this.#standing(lo, hi));
    });
    if (found.has("pending")) return "pending";
    this.#endLate();
    return found.has("lost") ? "lost" : "durable";
  }

  /** The repair is given up: nobody waits until what was written is noted. */
  abandon(): void {
    if (this.end() === "pending") this.#endLate();
  }

  #endLate(): void {
    this.#eachLate((lo, hi) => this.#bitmap.endWrite(lo, hi, false));
    this.#late.clear();
    this.#holdsLate = false;
  }

  #eachLate(visit: (lo: number, hi: number) => void): void {
    const { chunkSectors } = this.#bitmap;
    for (const chunk of this.#late) visit(chunk * chunkSectors, (chunk + 1) * chunkSectors);
  }

  #standing(lo: number, hi: number): Noted {
    if (this.#bitmap.isDurable(lo, hi)) return "durable";
    return this.#bitmap.isLost(lo, hi) ? "lost" : "pending";
  }
}
