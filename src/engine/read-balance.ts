/**
 * How many more requests a copy may have in flight than the idlest one and still get the read that continues where its
 * last one ended: enough for its read-ahead to pay, not so much that one member does all of a long sequential read.
 */
const SEQUENTIAL_HANDICAP = 4;

/**
 * Which copy to read: "first": the first usable one. Otherwise the one whose last read ended where this begins, unless
 * it is much busier than another; else the one with the fewest requests in flight; among equals the one whose last read
 * ended nearest. -1 when none is usable.
 *
 * Arrays by copy: `sector` where the read begins on that member, `usable` (not 0), `inFlight` requests, `head`: the
 * sector after the last one read.
 */
export function chooseCopy(
  first: boolean,
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
    if (first) return copy;
    if (head[copy] === sector[copy] && sequential === -1) sequential = copy;
    if (best === -1 || isBetter(copy, best, sector, inFlight, head)) best = copy;
  }
  if (sequential === -1) return best;
  const handicap = (inFlight[sequential] ?? 0) - (inFlight[best] ?? 0);
  return handicap <= SEQUENTIAL_HANDICAP ? sequential : best;
}

function isBetter(a: number, b: number, sector: Float64Array, inFlight: Int32Array, head: Float64Array): boolean {
  const difference = (inFlight[a] ?? 0) - (inFlight[b] ?? 0);
  if (difference !== 0) return difference < 0;
  return Math.abs((head[a] ?? 0) - (sector[a] ?? 0)) < Math.abs((head[b] ?? 0) - (sector[b] ?? 0));
}
