import { describe, expect, it } from "vitest";
import { sectorRange, slotNumber } from "../../src/base/units.ts";
import { locksText } from "../../src/cli/render/locks-text.ts";
import { type LocksContext, locksData } from "../../src/daemon/locks-data.ts";
import type { LockMode } from "../../src/dlm/lock-mode.ts";
import type { LockspaceDump, ResourceDump } from "../../src/dlm/lockspace.ts";
import { encodeFrame } from "../../src/messages/message-codec.ts";
import { encodeResyncWindow } from "../../src/messages/resync-window-codec.ts";

const NOW = 10_000_000;
const GIB = 1024 ** 3 / 512;
const window = sectorRange(37.5 * GIB, 37.53125 * GIB);
const HOUR = 3_600_000;

/** Granted modes by slot, and how many ms ago the last of them was. */
function resource(
  name: string,
  age: number | null,
  grants: Record<number, LockMode>,
  more: Partial<ResourceDump> = {},
): ResourceDump {
  const since = age === null ? null : NOW - age;
  const granted = Object.entries(grants).map(([slot, mode]) => ({ slot: slotNumber(Number(slot)), mode, since }));
  return { name, granted, converting: [], waiting: [], lvb: null, lvbValid: true, ...more };
}

const n = slotNumber;
const resync = (range: typeof window | null) => ({ lvb: encodeResyncWindow({ range, needsResync: false }) });

/** The situation of the specification: n2 sends a message which n1 is slow to process, while n3 is down. */
const dump: LockspaceDump = {
  name: "md0",
  generation: 4,
  rebuilding: false,
  members: [
    { node: "n1", slot: n(0) },
    { node: "n2", slot: n(1) },
  ],
  resources: [
    resource("bitmap0002", null, {}, { waiting: [{ slot: n(0), mode: "PW", since: NOW - 100 }] }),
    resource("bitmap0001", 2 * HOUR, { 1: "PW" }, resync(window)),
    resource("bitmap0000", 2 * HOUR, { 0: "PW" }, resync(null)),
    resource("resync", 200_000, { 0: "NL", 1: "EX" }),
    resource("no-new-dev", 2 * HOUR, { 0: "CR", 1: "CR" }),
    resource(
      "ack",
      1000,
      { 0: "CR" },
      {
        converting: [{ slot: n(1), from: "CR", to: "EX", since: NOW - 900 }],
      },
    ),
    resource(
      "message",
      1100,
      { 0: "CR", 1: "CW" },
      {
        lvb: encodeFrame({ message: { type: "resyncing", from: n(1), range: window }, sequence: 4182 }),
      },
    ),
    resource("token", 1100, { 1: "EX" }, { converting: [{ slot: n(0), from: "NL", to: "EX", since: NOW - 800 }] }),
  ],
};

const context: LocksContext = { now: NOW, notes: new Map(), dead: new Map([[2, "n3"]]), frozen: null };

describe("locks", () => {
  it("is a table of resources by nodes with what waits and why", () => {
    expect(locksText(locksData("md0", dump, context))).toMatchInlineSnapshot(`
      "RESOURCE    n1  n2  n3  WAITING         VALUE                          AGE
      token       NL  EX  -   n1 EX 0.8 s     -                              1.1 s
      message     CR  CW  -   -               RESYNCING slot 1 37.50-37.53G  1.1 s
      ack         CR  CR  -   n2 CR>EX 0.9 s  -                              1.0 s
      no-new-dev  CR  CR  -   -               -                              2 h
      resync      NL  EX  -   -               -                              3 min
      bitmap0000  PW  -   -   -               no resync                      2 h
      bitmap0001  -   PW  -   -               resync 37.50-37.53G            2 h
      bitmap0002  -   -   -   n1 PW 0.1 s     stale (n3 down)                -
      blocked: n1 waits for token of n2 (0.8 s); n2 has the right to speak
      blocked: n2 waits for ack of n1 (0.9 s); n1 is processing RESYNCING slot 1 37.50-37.53G
      blocked: n1 waits for bitmap0002 (0.1 s); it is next
      "
    `);
  });

  it("is the same for scripts, with values in hex and in words", () => {
    const data = locksData("md0", dump, context);
    expect(data.resources.map(({ name }) => name).slice(0, 5)).toEqual([
      "token",
      "message",
      "ack",
      "no-new-dev",
      "resync",
    ]);
    expect(data.resources[2]).toEqual({
      name: "ack",
      grants: [{ node: "n1", mode: "CR" }],
      convert: [{ node: "n2", from: "CR", to: "EX", waitSeconds: 0.9 }],
      queue: [],
      value: null,
      ageSeconds: 1,
    });
    expect(data.resources.at(-2)?.value).toEqual({
      hex: Buffer.from(resync(window).lvb).toString("hex"),
      decoded: "resync 37.50-37.53G",
    });
    expect(data.blocked).toContainEqual({
      node: "n2",
      resource: "ack",
      behind: ["n1"],
      waitSeconds: 0.9,
      why: "n1 is processing RESYNCING slot 1 37.50-37.53G",
    });
  });

  it("says nothing of times that it cannot know", () => {
    const old = resource("ack", null, { 0: "CR" }, { waiting: [{ slot: n(1), mode: "EX", since: null }] });
    const data = locksData("md0", { ...dump, resources: [old] }, { ...context, dead: new Map() });
    expect(data.resources[0]).toMatchObject({ ageSeconds: null, queue: [{ waitSeconds: null }] });
    expect(locksText(data)).toBe(
      [
        "RESOURCE  n1  n2  WAITING  VALUE  AGE",
        "ack       CR  -   n2 EX -  -      -",
        "blocked: n2 waits for ack of n1 (-); n1 is processing a message",
        "",
      ].join("\n"),
    );
  });

  it("blames only who is in the way: incompatible holders, then who came before", () => {
    const waiting = [
      { slot: n(0), mode: "PR", since: null },
      { slot: n(2), mode: "CR", since: null },
    ] as const;
    const r = resource("token", null, { 1: "PW", 3: "CR", 4: "NL" }, { waiting });
    const { blocked } = locksData("md0", { ...dump, resources: [r] }, context);
    expect(blocked.map(({ node, behind, why }) => [node, behind, why])).toEqual([
      ["n1", ["n2"], "n2 has the right to speak"],
      ["n3", ["n1"], "n1 came before"],
    ]);
  });

  it("of a holder that is not well says what becomes of it", () => {
    const notes = new Map([["n1", "is being fenced by n2; its locks stand until then"]]);
    const { blocked } = locksData("md0", dump, { ...context, notes });
    expect(blocked.find(({ resource: name }) => name === "ack")?.why).toBe(
      "n1 is being fenced by n2; its locks stand until then",
    );
  });

  it("while they are rebuilt are what was reported, with what cannot be and the command that ends it", () => {
    const locks = [
      { slot: n(0), node: "n1", mode: "PW" as const },
      { slot: n(1), node: "n2", mode: "PW" as const },
    ];
    const frozen = {
      reason: "",
      since: 0,
      reported: ["n1", "n2"],
      missing: [],
      deadline: null,
      conflicts: [{ resource: "bitmap0001", locks }],
    };
    const rebuilt = { ...dump, rebuilding: true, resources: [resource("bitmap0001", null, { 0: "PW", 1: "PW" })] };
    expect(locksText(locksData("md0", rebuilt, { ...context, dead: new Map(), frozen }))).toBe(
      [
        "RESOURCE    n1  n2  WAITING  VALUE  AGE",
        "bitmap0001  PW  PW  -        -      -",
        "rebuilding: the lock server lost the locks of md0; above is what was reported so far",
        "conflict: bitmap0001 is held by n1 (PW) and n2 (PW), which cannot be",
        "  try: stop one of them for good, then mdctl node evict n2 --confirm-dead",
        "",
      ].join("\n"),
    );
  });
});
