import { describe, expect, it } from "vitest";
import { sector, sectorRange, slotNumber } from "../../src/base/units.ts";
import type { NodeContext } from "../../src/cluster/node-context.ts";
import { scrubWindow } from "../../src/cluster/scrub-window.ts";
import { receiveResyncing } from "../../src/cluster/suspend-receiver.ts";
import type { Compared, EngineCommand } from "../../src/engine/engine-protocol.ts";
import type { ScrubOrder } from "../../src/resync/scrub.ts";

const window = sectorRange(0, 128);
const check: ScrubOrder = { action: "check", from: sector(0), to: sector(1024), source: null };

interface Around {
  /** What the peer in slot 1 says of itself. */
  peerNeeds?: boolean;
  balance?: "first" | "balanced";
  neededHere?: number;
  blocked?: boolean;
  /** While the peers are asked. */
  meanwhile?: (members: { state: string }[]) => void;
}

/** A node that sees one sector differ, with a peer; only what a comparison looks at. */
function around({ peerNeeds = false, balance = "balanced", neededHere = 0, blocked = false, meanwhile }: Around = {}) {
  const sent: EngineCommand[] = [];
  const told: boolean[] = [];
  const compared: Compared = {
    type: "compared",
    sectors: 128,
    failed: false,
    mismatched: 128,
    ranges: [{ ...sectorRange(5, 6), kind: "differs", places: [1] }],
    isCut: false,
    unsettled: false,
  };
  const members = [0, 1, 2].map((number) => ({ number, raidDisk: number, state: "in_sync" }));
  const ownWindow = {
    needsResync: false,
    needs: (needs: boolean) => {
      told.push(needs);
      return Promise.resolve();
    },
  };
  const context = {
    engine: {
      send: (command: EngineCommand) => {
        sent.push(command);
        const isRepair = command.type === "compare" && command.repair !== null;
        const ranges = compared.ranges.map((range) => ({ ...range, kind: isRepair ? "repaired" : range.kind }));
        return Promise.resolve({ ...compared, ranges });
      },
    },
    array: { members, size: sector(1024) },
    members: {
      isBlockedMember: () => false,
      hasBlocked: blocked,
      hasUnsettled: false,
      numberAt: (place: number) => place,
      placeOf: (number: number) => number,
    },
    node: { own: slotNumber(0), members: [{ slot: slotNumber(0) }, { slot: slotNumber(1) }], balance },
    questions: new Map(),
    remoteSyncs: new Map(),
    shared: { read: () => neededHere },
    slotLocks: {
      read: () => {
        meanwhile?.(members);
        return Promise.resolve({ range: null, needsResync: peerNeeds });
      },
    },
    ownWindow,
    env: { clock: { now: () => 0 } },
    dispatch: (event: { type: string; needsResync?: boolean }) => {
      if (event.type === "peer" && event.needsResync === true) context.node.balance = "first";
    },
  };
  return { context: context as unknown as NodeContext, sent, told };
}

describe("a difference", () => {
  it("is a mismatch when nobody has anything to settle", async () => {
    const { context } = around();
    const ranges = [{ ...sectorRange(5, 6), kind: "differs", members: [1] }];
    expect(await scrubWindow(context, check, window)).toEqual({ mismatched: 128, isCut: false, ranges });
  });

  it.each<[string, Around]>([
    ["a peer has chunks that need a resync", { peerNeeds: true }],
    ["a dead node's slot has no owner yet", { balance: "first" }],
    ["this node has such chunks", { neededHere: 1 }],
    ["a member failed here, and not all know", { blocked: true }],
    [
      "a member failed meanwhile",
      { meanwhile: ([one]) => one !== undefined && Object.assign(one, { state: "faulty" }) },
    ],
  ])("is none while %s, and nothing is repaired", async (_, situation) => {
    for (const action of ["check", "repair"] as const) {
      const { context, sent } = around(situation);
      expect(await scrubWindow(context, { ...check, action }, window)).toBe(null);
      expect(sent.map((command) => command.type === "compare" && command.repair)).toEqual([null]);
    }
  });

  it("is repaired by a second look, by majority or from the source as long as that is in sync", async () => {
    const { context, sent } = around();
    const repair = { ...check, action: "repair" } as const;
    expect(await scrubWindow(context, repair, window)).toMatchObject({ ranges: [{ kind: "repaired", members: [1] }] });
    expect(await scrubWindow(context, { ...repair, source: 2 }, window)).not.toBe(null);
    expect(await scrubWindow(context, { ...repair, source: 9 }, window)).toBe(null);
    expect(sent.map((command) => command.type === "compare" && command.repair)).toEqual([
      null,
      { source: null },
      null,
      { source: 2 },
      null,
    ]);
  });
});

describe("who holds its writes for another node's window", () => {
  const resyncing = { type: "resyncing", from: slotNumber(1), range: window } as const;

  it.each<[string, Around, readonly boolean[]]>([
    ["has chunks that need a resync", { neededHere: 1 }, [true]],
    ["lost a member of which not all know", { blocked: true }, [true]],
    ["has nothing to settle", {}, []],
  ])("and %s says so before it acknowledges, and only then", async (_, situation, expected) => {
    const { context, told, sent } = around(situation);
    await receiveResyncing(context, resyncing);
    expect(sent.map(({ type }) => type)).toEqual(["suspend"]);
    expect(told).toEqual(expected);
  });
});
