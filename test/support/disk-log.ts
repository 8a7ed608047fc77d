import { MdError } from "../../src/base/md-error.ts";
import { bytesOf, SECTOR_SIZE, type Sector, sector } from "../../src/base/units.ts";
import type { BlockDevice } from "../../src/blockdev/block-device.ts";
import { MemoryDevice } from "../../src/blockdev/memory-device.ts";

type DiskStep =
  | { readonly type: "write"; readonly disk: number; readonly at: number; readonly bytes: Uint8Array }
  | { readonly type: "flush"; readonly disk: number };

/**
 * Disks in memory that remember everything done to them, in order, so that a test can cut the power at any moment and
 * look at every state that the disks may then be in.
 */
export class DiskLog {
  readonly devices: readonly BlockDevice[];
  readonly #before: readonly Uint8Array[];
  readonly #steps: DiskStep[] = [];
  /** Devices for which writes fail, by index. */
  readonly failing = new Set<number>();
  readonly failingFlush = new Set<number>();

  constructor(images: readonly Uint8Array[], logicalBlockSize = 512) {
    this.#before = images.map((image) => image.slice());
    this.devices = images.map((image, disk) => {
      const memory = new MemoryDevice(`/dev/disk${disk}`, image.slice(), logicalBlockSize);
      return {
        path: memory.path,
        size: memory.size,
        logicalBlockSize,
        read: (at: Sector, into: Uint8Array) => memory.read(at, into),
        write: async (at: Sector, from: Uint8Array) => {
          // Past the end: the same MdError E_IO that a broken disk gives.
          await memory.write(this.failing.has(disk) ? sector(memory.size) : at, from);
          this.#steps.push({ type: "write", disk, at: bytesOf(at), bytes: from.slice() });
        },
        flush: async () => {
          if (this.failingFlush.has(disk)) throw new MdError("E_IO", `/dev/disk${disk} cannot flush`);
          await memory.flush();
          this.#steps.push({ type: "flush", disk });
        },
        close: () => memory.close(),
      };
    });
  }

  get length(): number {
    return this.#steps.length;
  }

  /**
   * Every state that a power cut after the first `steps` steps may leave: each write that was not flushed is there or
   * not, independently. Each state is one image per disk. Last come the states in which the newest write is torn: all
   * before it are there, and of it the sectors before or after some point.
   */
  *crashStates(steps: number): Generator<readonly Uint8Array[]> {
    const done = this.#steps.slice(0, steps);
    const loose: number[] = [];
    for (const [i, step] of done.entries()) {
      if (step.type !== "write") continue;
      const flushed = done.slice(i).some((later) => later.type === "flush" && later.disk === step.disk);
      if (!flushed) loose.push(i);
    }
    for (let mask = 0; mask < 2 ** loose.length; mask++) {
      const images = this.#before.map((image) => image.slice());
      for (const [i, step] of done.entries()) {
        if (step.type !== "write") continue;
        const order = loose.indexOf(i);
        if (order >= 0 && (mask & (1 << order)) === 0) continue;
        images[step.disk]?.set(step.bytes, step.at);
      }
      yield images;
    }
    yield* tornStates(this.#before, done);
  }
}

function* tornStates(before: readonly Uint8Array[], done: readonly DiskStep[]): Generator<readonly Uint8Array[]> {
  const torn = done.at(-1);
  if (torn?.type !== "write") return;
  for (let cut = SECTOR_SIZE; cut < torn.bytes.byteLength; cut += SECTOR_SIZE) {
    for (const [lo, hi] of [
      [0, cut],
      [cut, torn.bytes.byteLength],
    ] as const) {
      const images = before.map((image) => image.slice());
      for (const step of done.slice(0, -1)) if (step.type === "write") images[step.disk]?.set(step.bytes, step.at);
      images[torn.disk]?.set(torn.bytes.subarray(lo, hi), torn.at + lo);
      yield images;
    }
  }
}
