import { describe, expect, it } from "vitest";
import { readTuning, tuningOf } from "../../src/daemon/array-tuning.ts";
import { readConfig } from "../../src/daemon/config.ts";
import { parseConfigFile } from "../../src/daemon/config-file.ts";

const UUID = "7b37c478:a77d09b7:cb2120fb:6e0d1c55";

const tuned = (text: string) => parseConfigFile("m.conf", text).sysfs.map(readTuning);

describe("a SYSFS line", () => {
  it("sets for one array, by name or UUID, what md's files of these names set", () => {
    const lines = tuned(`SYSFS name=/dev/md/data sync_speed_min=500 sync_speed_max=20000
SYSFS uuid=7b37c478-a77d09b7-cb2120fb-6e0d1c55
  safe_mode_delay=0.5
SYSFS name=scratch array_state=read-auto
SYSFS name=data sync_speed_max=0
`);
    const data = { syncSpeedMin: 500, syncSpeedMax: 0, safeModeDelayMs: 500 };
    expect(tuningOf(lines, { name: "data", uuid: UUID })).toEqual(data);
    expect(tuningOf(lines, { name: "scratch", uuid: "other" })).toEqual({ access: "read-auto" });
    expect(tuningOf(lines, { name: "third", uuid: "other" })).toEqual({});
  });

  it.each([
    ["name=a sync_speed_max=fast", 'm.conf:1: SYSFS: sync_speed_max= takes no "fast"'],
    ["name=a array_state=gone", 'm.conf:1: SYSFS: array_state= takes no "gone"'],
    ["name=a group_thread_cnt=4", 'm.conf:1: SYSFS: it knows no "group_thread_cnt=4"'],
    ["uuid=12 sync_speed_max=1", 'm.conf:1: SYSFS: "12" is no UUID'],
    ["sync_speed_max=1", "m.conf:1: SYSFS: no array is named"],
    ["name=a safe_mode_delay=-1", 'm.conf:1: SYSFS: safe_mode_delay= takes no "-1"'],
  ])("%s is refused with its place", (words, message) => {
    expect(() => tuned(`SYSFS ${words}`)).toThrow(message);
  });

  it("stands beside what holds for all arrays, with md's numbers built in", () => {
    const config = readConfig(
      new Map(),
      {},
      parseConfigFile("m.conf", "SYNC speed-min=2M\nSYSFS name=a sync_speed_min=1"),
    );
    expect([config.syncSpeedMin, config.syncSpeedMax]).toEqual([2048, 204_800]);
    expect(config.tuned).toEqual([{ name: "a", uuid: null, tuning: { syncSpeedMin: 1 } }]);
    expect(readConfig(new Map([["sync-speed-max", "0"]]), {}).syncSpeedMin).toBe(1000);
    expect(readConfig(new Map([["sync-speed-max", "0"]]), {}).syncSpeedMax).toBe(0);
  });
});
