import type { Scenario } from "../steps.ts";
import { busyDevices, dirtyBitmaps, killedResyncing, killedSpeaking } from "./additions.ts";
import { createRow } from "./create.ts";
import { bitmapSwitchRow, growAdd01r1, resizeRow } from "./grow.ts";
import { onBothLevels } from "./levels.ts";
import { manageAddRow, manageAddSpareRow, manageReAddRow } from "./manage.ts";
import { replaceRow } from "./replace.ts";
import { switchRecoveryRow, switchResyncRow } from "./switch.ts";

/** The peer's rows (clustermd_tests) by their names, then what they leave out. */
export const scenarios: readonly Scenario[] = [
  ...onBothLevels(createRow),
  growAdd01r1,
  ...onBothLevels(bitmapSwitchRow),
  ...onBothLevels(resizeRow),
  ...onBothLevels(manageAddRow),
  ...onBothLevels(manageAddSpareRow),
  ...onBothLevels(manageReAddRow),
  ...onBothLevels(switchRecoveryRow),
  ...onBothLevels(switchResyncRow),
  ...onBothLevels(replaceRow),
  killedResyncing,
  dirtyBitmaps,
  busyDevices,
  killedSpeaking,
];
