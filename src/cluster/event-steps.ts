import { isDegraded, type MdArray } from "../array/md-array.ts";
import type { Member } from "../array/member.ts";
import { IN_SYNC } from "../superblock/superblock.ts";

/** A superblock update that says no more than that the copies may differ, or that they are equal. */
export interface ActivityStep {
  /** It takes back the number of the step before, which said the opposite. */
  readonly isBack: boolean;
  /** Spares sleep on: it says nothing that concerns them. */
  readonly spares: "asleep" | "written";
}

const full: ActivityStep = { isBack: false, spares: "written" };

/**
 * md's rules for the numbers of updates between clean and active: such a step goes one number back where it can, so that
 * spares, which are not written then, are never more than one behind. Source: md.c, md_update_sb, sync_sbs.
 */
export class EventSteps {
  /** The last update was such a step, forwards. */
  #mayGoBack = false;
  /** The number that all spares have. */
  #sparesAt = -1;

  /** `resyncOffset`: what the update will say. `usedEvents`: the highest number that was written anywhere. */
  plan(array: MdArray, resyncOffset: bigint, usedEvents: number): ActivityStep {
    // A member that was taken out could look as if it had missed nothing: it must not have the number of a later state.
    if (isDegraded(array) || usedEvents !== array.events) return full;
    const isBack = this.#mayGoBack && resyncOffset === IN_SYNC && array.events > 1;
    const number = array.events + (isBack ? -1 : 1);
    const isNear = number === this.#sparesAt || number === this.#sparesAt + 1;
    return { isBack, spares: isNear ? "asleep" : "written" };
  }

  /** The update is on all whom it was for. `step` is null for any other than such a step. */
  done(array: MdArray, step: ActivityStep | null): void {
    this.#mayGoBack = step !== null && !step.isBack && !isDegraded(array);
    if (step?.spares !== "asleep") this.#sparesAt = array.events;
  }
}

/** Does a step leave the member alone? */
export const sleepsThrough = (step: ActivityStep | null, { state }: Member): boolean =>
  step?.spares === "asleep" && state === "spare";
