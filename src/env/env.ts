import type { Clock } from "./clock.ts";
import type { Logger } from "./logger.ts";
import type { Random } from "./random.ts";

/** The world as the control plane sees it: everything that a simulation replaces. */
export interface Env {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}
