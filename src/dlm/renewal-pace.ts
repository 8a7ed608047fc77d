import type { SlotNumber } from "../base/units.ts";
import { type LeaseTimes, renewEvery } from "./lease.ts";

/**
 * Milliseconds until a node's next regular renewal, which is also its look at the others. A death is found a lease after
 * somebody saw the last renewal of the dead one: how soon that was hangs on how the members' renewals lie to each other. So
 * they are spread over the interval by the wall clock, slot by slot (0, 1/2, 1/4, 3/4, 1/8 ...): of two nodes each looks
 * half an interval after the other. Nothing but that hangs on wall clocks: where they differ, renewals lie as chance has it.
 */
export function untilRenewal(times: LeaseTimes, slot: SlotNumber, wall: number): number {
  const every = renewEvery(times);
  const since = (wall - placeOf(slot) * every) % every;
  const left = every - (since < 0 ? since + every : since);
  // A timer that fires somewhat early does not fire twice.
  return left < every / 4 ? left + every : left;
}

/** From 0 to 1: the bits of the number in reverse (van der Corput), so that each place is far from those before it. */
function placeOf(slot: SlotNumber): number {
  let place = 0;
  for (let rest: number = slot, part = 0.5; rest > 0; rest >>= 1, part /= 2) place += (rest & 1) * part;
  return place;
}
