import { describe, expect, it } from "vitest";
import { adviceFor, verdictOf } from "../../src/daemon/status-data.ts";
import { arrayInfo, statusData } from "../support/array-info.ts";

const lost = {
  uuid: "0:0:0:1",
  name: "md0",
  reason: "its lease ran out",
  at: "2026-01-02T03:04:05.678Z",
};

describe("an array that this node was fenced from", () => {
  const { cluster } = statusData([]);

  it("is no reason to say that all is well, though none is here that could be ill", () => {
    const daemon = { lockServiceReachable: true, lostArrays: [lost] };
    expect(verdictOf([], [], { ...daemon, lostArrays: [] })).toBe("ok");
    expect(verdictOf([], [], daemon)).toBe("degraded");
    expect(verdictOf([arrayInfo("md1")], [], daemon)).toBe("degraded");
    expect(verdictOf([], [], { ...daemon, lockServiceReachable: false })).toBe("frozen");
  });

  it("is named with the reason, the time and the command that brings it back", () => {
    expect(adviceFor([], cluster, [lost])).toEqual([
      {
        text: "md0 is gone from this node since 2026-01-02T03:04:05.678Z (its lease ran out)",
        command: "mdctl assemble md0",
      },
    ]);
    expect(adviceFor([], cluster, [])).toEqual([]);
  });
});
