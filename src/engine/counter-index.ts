import { type EngineCounter, engineCounters } from "./shared-block.ts";

/** Where each counter is in the shared block, so that counting is one store. */
export const counterIndex = Object.fromEntries(engineCounters.map((name, index) => [name, index])) as Record<
  EngineCounter,
  number
>;
