/**
 * How many more requests a copy may have in flight than the idlest one and still get the read that continues where its
 * last one ended: enough for its read-ahead to pay, not so much that one member does all of a long sequential read.
 */
const SEQUENTIAL_HANDICAP = 4;

/** first: the first usable copy. lowest, nearest: among copies that are as busy, the one that lies so. */
export type ReadOrder = "first" | "lowest" | "nearest";

/**
 * Which copy to read (md's read_balance): the first usable one; or the one whose last read ended where this begins, unless
 * it is much busier than another; else the one with the fewest requests in flight; among equals the one whose last read
 * ended nearest, or, where far copies lie in sections of their own, the one at the lowest sector, so that the slow end
 * of the members is left alone and a long read goes to all of them. -1 when none is usable.
 *
 * md goes by distance alone where all members rotate and none is idle. We go by load first there, too: a member that has
 * become slow does not get reads that another can serve.
 *
 * Arrays by copy: `sector` where the read begins on that member, `usable` (not 0), `inFlight` requests, `head`: the
 * sector after the last one read.
 */
export function chooseCopy(
  order: ReadOrder,
  copies: number,
  sector: Float64Array,
  usable: Uint8Array,
  inFlight: Int32Array,
  head: Float64Array,
): number {
  let best = -1;
  let sequential = -1;
  for (let copy = 0; copy < copies; copy++) {
    if (usable[copy] === 0) continue;
    if (order === "first") return copy;
    if (order === "nearest" && head[copy] === sector[copy] && sequential === -1) sequential = copy;
    if (best === -1 || isBetter(order, copy, best, sector, inFlight, head)) best = copy;
  }
  if (sequential === -1) return best;
  const handicap = (inFlight[sequential] ?? 0) - (inFlight[best] ?? 0);
  return handicap <= SEQUENTIAL_HANDICAP ? sequential : best;
}

function isBetter(
  order: ReadOrder,
  a: number,
  b: number,
  sector: Float64Array,
  inFlight: Int32Array,
  head: Float64Array,
): boolean {
  const difference = (inFlight[a] ?? 0) - (inFlight[b] ?? 0);
  if (difference !== 0) return difference < 0;
  if (order === "lowest") return (sector[a] ?? 0) < (sector[b] ?? 0);
  return Math.abs((head[a] ?? 0) - (sector[a] ?? 0)) < Math.abs((head[b] ?? 0) - (sector[b] ?? 0));
}
