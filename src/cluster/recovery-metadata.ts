import { failMember, memberRebuilt, memberRecovered, type Transition } from "../array/array-state.ts";
import { type MdArray, memberByNumber } from "../array/md-array.ts";
import { MdError } from "../base/md-error.ts";
import type { Sector } from "../base/units.ts";
import { sameUuid } from "../superblock/uuid.ts";
import { type FillTarget, isFilling } from "./filling.ts";
import { updateMetadata } from "./metadata-update.ts";
import { countError, type NodeContext } from "./node-context.ts";

/** Writes down how far members are filled: where the next to fill them goes on. */
export async function checkpointRecovery(
  context: NodeContext,
  targets: readonly FillTarget[],
  to: Sector,
): Promise<void> {
  if (!(await makeDurable(context, targets))) return;
  await updateMetadata(context, (array) =>
    all(array, targets, (each, target) =>
      isFilling(context, each, target) ? memberRecovered(each, target.number, to) : unchanged(each),
    ),
  );
}

/** All of it was copied while the member took every write: it is a full copy. One that failed meanwhile is not. */
export async function finishRecovery(context: NodeContext, targets: readonly FillTarget[]): Promise<void> {
  if (!(await makeDurable(context, targets))) return;
  const replacing = targets.filter(({ number }) => memberByNumber(context.array, number)?.isReplacement === true);
  const plain = targets.filter((target) => !replacing.includes(target));
  // Each replacement by itself: of two, either would be the first to say that the other one's old member is gone.
  for (const together of [plain, ...replacing.map((target) => [target])]) {
    await updateMetadata(context, (array) =>
      all(array, together, (each, target) =>
        isFilling(context, each, target) ? memberRebuilt(each, target.number) : unchanged(each),
      ),
    );
  }
}

/**
 * What was copied must be on the medium before a superblock says so: after a power cut nothing else would tell. A member
 * that cannot flush fails; false then.
 */
async function makeDurable(context: NodeContext, targets: readonly FillTarget[]): Promise<boolean> {
  const failed: FillTarget[] = [];
  for (const target of targets) {
    if (!isFilling(context, context.array, target)) continue;
    try {
      await context.devices.get(target.number)?.flush();
    } catch (error) {
      if (!(error instanceof MdError)) throw error;
      failed.push(target);
    }
  }
  if (failed.length === 0) return true;
  await updateMetadata(context, (array) =>
    all(array, failed, (each, { number, deviceUuid }) => {
      const member = memberByNumber(each, number);
      if (member === null || !sameUuid(member.deviceUuid, deviceUuid)) return unchanged(each);
      countError(context, number, "write");
      return failMember(each, number);
    }),
  );
  return false;
}

const unchanged = (array: MdArray): Transition => ({ array, changes: [] });

function all(
  array: MdArray,
  targets: readonly FillTarget[],
  step: (array: MdArray, target: FillTarget) => Transition,
): Transition {
  let transition: Transition = { array, changes: [] };
  for (const target of targets) {
    const next = step(transition.array, target);
    transition = { array: next.array, changes: [...transition.changes, ...next.changes] };
  }
  return transition;
}
