import { memberRebuilt, memberRecovered, type Transition } from "../array/array-state.ts";
import { type MdArray, memberByNumber } from "../array/md-array.ts";
import type { Sector } from "../base/units.ts";
import { updateMetadata } from "./metadata-update.ts";
import type { NodeContext } from "./node-context.ts";

/** Writes down how far members are filled: where the next to fill them goes on. */
export function checkpointRecovery(context: NodeContext, numbers: readonly number[], to: Sector): Promise<void> {
  return updateMetadata(context, (array) =>
    all(array, numbers, (each, number) =>
      memberByNumber(each, number) === null ? { array: each, changes: [] } : memberRecovered(each, number, to),
    ),
  );
}

/** All of it was copied while the member took every write: it is a full copy. One that failed meanwhile is not. */
export function finishRecovery(context: NodeContext, numbers: readonly number[]): Promise<void> {
  const { members } = context;
  return updateMetadata(context, (array) =>
    all(array, numbers, (each, number) => {
      const member = memberByNumber(each, number);
      const isWhole = member?.raidDisk !== null && member !== null && !members.isBlocked(member.raidDisk);
      return isWhole ? memberRebuilt(each, number) : { array: each, changes: [] };
    }),
  );
}

function all(
  array: MdArray,
  numbers: readonly number[],
  step: (array: MdArray, number: number) => Transition,
): Transition {
  let transition: Transition = { array, changes: [] };
  for (const number of numbers) {
    const next = step(transition.array, number);
    transition = { array: next.array, changes: [...transition.changes, ...next.changes] };
  }
  return transition;
}
