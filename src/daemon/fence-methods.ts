import { MdError } from "../base/md-error.ts";
import type { Fencer } from "../dlm/fencer.ts";
import type { Env } from "../env/env.ts";
import { AgentFencer, checkAgent } from "../fencing/agent-fencer.ts";
import type { FenceConfig } from "./fence-config.ts";

/** The configured methods; null: none. E_VALUE for one that cannot work here. */
export function makeFencer({ agent, pill, reservations, watchdog }: FenceConfig, env: Env): Fencer | null {
  if (pill || reservations || watchdog !== null) {
    throw new MdError("E_VALUE", "fence: only command= is available in this version");
  }
  if (agent === null) return null;
  checkAgent(agent);
  return new AgentFencer(agent, env);
}
