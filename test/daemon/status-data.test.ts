import { describe, expect, it } from "vitest";
import { adviceFor, verdictOf } from "../../src/daemon/status-data.ts";
import { arrayInfo, frozen, statusData } from "../support/array-info.ts";

const lost = {
  uuid: "0:0:0:1",
  name: "md0",
  reason: "its lease ran out",
  at: "2026-01-02T03:04:05.678Z",
};

describe("an array that this node was fenced from", () => {
  const { cluster } = statusData([]);

  it("is no reason to say that all is well, though none is here that could be ill", () => {
    expect(verdictOf([], [], null, [])).toBe("ok");
    expect(verdictOf([], [], null, [lost])).toBe("degraded");
    expect(verdictOf([arrayInfo("md1")], [], null, [lost])).toBe("degraded");
    expect(verdictOf([], [], frozen, [lost])).toBe("frozen");
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

describe("a lock service that is lost", () => {
  const { cluster } = statusData([]);
  const advice = (service: Partial<typeof cluster.service>) =>
    adviceFor([], { ...cluster, lockService: "lost", service: { ...cluster.service, ...service } }, []);

  it("is to be brought back, or its nodes, or one of those that contradict each other to be evicted", () => {
    // The leases show it first: the connection may still look well.
    expect(advice({ frozen: { ...frozen, progress: null } })).toEqual([
      { text: "restore the lock service unix:/run/mdctl/lockd.sock", command: null },
    ]);
    expect(advice({ frozen })).toEqual([{ text: "wait for the nodes that have not reported", command: null }]);
    const command = "mdctl node evict n2 --confirm-dead";
    expect(advice({ frozen: { ...frozen, command } })).toEqual([
      { text: "stop one of the holders for good, then", command },
    ]);
  });
});
