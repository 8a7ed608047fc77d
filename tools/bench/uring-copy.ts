import { type Sector, sectorsIn } from "../../src/base/units.ts";
import { openRing } from "../../src/blockdev/open-ring.ts";
import type { Area } from "./qemu-quorum.ts";

export interface CopyShape {
  readonly blockBytes: number;
  readonly depth: number;
}

/** The plainest copy that io_uring allows: `depth` buffers, each read from the one file and written to the other, O_DIRECT. Seconds. */
export function uringCopySeconds(
  [from, to]: readonly [string, string],
  { offset, size }: Area,
  { blockBytes, depth }: CopyShape,
): number {
  const ring = openRing("io_uring", { entries: 256, arenaBytes: blockBytes * depth });
  const [source, target] = [ring.openDevice(from, { readOnly: true }), ring.openDevice(to, { readOnly: false })];
  const [block, total, base] = [sectorsIn(blockBytes), sectorsIn(size), sectorsIn(offset)];
  const at = new Float64Array(depth);
  const isWrite = new Uint8Array(depth);
  let next = 0;
  let inFlight = 0;
  const length = (buffer: number): number => Math.min(block, total - (at[buffer] ?? 0));
  const place = (buffer: number): Sector => (base + (at[buffer] ?? 0)) as Sector;
  const readNext = (buffer: number): void => {
    if (next >= total) return;
    at[buffer] = next;
    next += block;
    isWrite[buffer] = 0;
    inFlight++;
    ring.read(source, place(buffer), length(buffer), buffer * blockBytes, buffer);
  };
  try {
    const began = performance.now();
    for (let buffer = 0; buffer < depth; buffer++) readNext(buffer);
    while (inFlight > 0) {
      const ended = ring.submitAndReap(-1);
      for (let i = 0; i < ended; i++) {
        const buffer = ring.completedTag[i] ?? 0;
        const result = ring.completedResult[i] ?? 0;
        if (result !== length(buffer) * 512) throw new Error(`io_uring copy: a transfer ended with ${result}`);
        inFlight--;
        if (isWrite[buffer] === 1) {
          readNext(buffer);
          continue;
        }
        isWrite[buffer] = 1;
        inFlight++;
        ring.write(target, place(buffer), length(buffer), buffer * blockBytes, 0, buffer);
      }
    }
    return (performance.now() - began) / 1000;
  } finally {
    ring.closeDevice(source);
    ring.closeDevice(target);
    ring.close();
  }
}
