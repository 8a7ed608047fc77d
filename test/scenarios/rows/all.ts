import type { Scenario } from "../steps.ts";
import { busyDevices, dirtyBitmaps, killedResyncing } from "./additions.ts";
import { create00r1 } from "./create-r1.ts";
import { manageAdd02r1, manageAddSpare02r1, manageReAdd02r1 } from "./manage-r1.ts";
import { switchRecovery03r1, switchResync03r1 } from "./switch-r1.ts";

/** The peer's rows (clustermd_tests) by their names, then what they leave out. */
export const scenarios: readonly Scenario[] = [
  create00r1,
  manageAdd02r1,
  manageAddSpare02r1,
  manageReAdd02r1,
  switchRecovery03r1,
  switchResync03r1,
  killedResyncing,
  dirtyBitmaps,
  busyDevices,
];
