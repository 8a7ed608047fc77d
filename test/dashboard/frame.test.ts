import { describe, expect, it } from "vitest";
import { frame } from "../../src/dashboard/frame.ts";
import type { DashboardState } from "../../src/dashboard/view-model.ts";
import { arrayInfo, event, frozen, member, node, resyncing, statusData } from "../support/array-info.ts";

process.env["TZ"] = "UTC";

const state = (overrides: Partial<DashboardState> = {}): DashboardState => ({
  status: statusData([arrayInfo("md0"), arrayInfo("md1")]),
  events: [event(1, "RESYNC", "started on n1 (created)"), event(2, "RESYNCED", "100.0 GiB in 8 min 32 s")],
  now: Date.UTC(2026, 10, 20, 10, 3, 20),
  refreshSeconds: 1,
  rates: new Map([["md0", { read: 12.1 * 1024 * 1024, write: 48 * 1024 * 1024 }]]),
  retries: null,
  ...overrides,
});

const degraded = arrayInfo("md0", {
  health: "degraded",
  members: [
    member(0, "/dev/sda"),
    member(1, "/dev/sdc", { number: 2, inSync: false, recoveryOffsetBytes: 37.5 * 1024 ** 3 }),
    member(1, "/dev/sdb", { number: 1, slot: null, role: "faulty", inSync: false }),
  ],
  sync: { ...resyncing, action: "recover", node: "n1", why: "spare" },
});

const { cluster } = statusData([]);
const frozenCluster = {
  ...cluster,
  nodesUp: 3,
  nodesTotal: 3,
  lockService: "lost",
  service: { ...cluster.service, address: "redis://10.0.0.5:6379", frozen },
} as const;

const situations: Record<string, DashboardState> = {
  healthy: state(),
  resyncing: state({
    status: statusData(
      [
        arrayInfo("md0", {
          sync: resyncing,
          suspended: [
            { loBytes: 37.5 * 1024 ** 3, hiBytes: 37.53 * 1024 ** 3, byNode: "n2", reason: "resync", since: null },
          ],
        }),
      ],
      { verdict: "notice" },
    ),
  }),
  "degraded with a dead node": state({
    status: statusData([degraded], {
      verdict: "degraded",
      nodes: [node("n1", 0), node("n2", 1, { state: "down", lastSeenSeconds: 12 })],
      advice: [{ text: "replace sdb; then", command: "mdctl remove md0 failed" }],
    }),
  }),
  frozen: state({
    status: statusData([arrayInfo("md0", { frozen })], {
      verdict: "frozen",
      cluster: frozenCluster,
      nodes: [node("n1", 0), node("n2", 1, { lastSeenSeconds: 0.4 }), node("n3", 2, { lastSeenSeconds: 3.4 })],
      advice: [{ text: "wait for the nodes that have not reported", command: null }],
    }),
  }),
  "before the first answer": state({ status: null, events: [] }),
  "without its daemon": state({ retries: 3 }),
};

describe.each(Object.entries(situations))("the overview %s", (name, shown) => {
  it.each([
    [60, 15],
    [80, 24],
    [120, 40],
    [200, 60],
  ])("fills %i x %i exactly, with nothing that is not a value", (columns, rows) => {
    const lines = frame(shown, { columns, rows, selected: 0 });
    expect(lines.map((line) => line.length)).toEqual(Array(rows).fill(columns));
    expect(lines.join("\n")).not.toMatch(/NaN|undefined|Infinity|null|-0\b/);
  });

  it("is the stored frame at 80x24", async () => {
    const lines = frame(shown, { columns: 80, rows: 24, selected: 0 }).map((line) => line.trimEnd());
    await expect(`${lines.join("\n")}\n`).toMatchFileSnapshot(`frames/${name.replaceAll(" ", "-")}.txt`);
  });
});

describe("the overview", () => {
  it("shows no percent for what is pending", () => {
    const sync = {
      ...resyncing,
      status: "pending" as const,
      percent: null,
      etaSeconds: null,
      waitingFor: "resync lock",
    };
    const text = frame(state({ status: statusData([arrayInfo("md0", { sync })]) }), {
      columns: 80,
      rows: 24,
      selected: 0,
    }).join("\n");
    expect(text).toContain("pending");
    expect(text).not.toContain("%");
  });

  it("says what a terminal that is too small needs", () => {
    expect(frame(state(), { columns: 40, rows: 10, selected: 0 })[0]).toContain("terminal is 40x10, need 60x15");
  });

  it("marks the selected array with a sign, not by colour alone", () => {
    const lines = frame(state(), { columns: 80, rows: 24, selected: 1 });
    expect(lines.find((line) => line.includes("md1"))).toMatch(/^\|>md1/);
  });
});
