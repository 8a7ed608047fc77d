import { describe, expect, it } from "vitest";
import { sectorRange, slotNumber } from "../../src/base/units.ts";
import { type NodeEffect, type NodeEvent, type NodeState, newNode, stepNode } from "../../src/cluster/node-machine.ts";

const s0 = slotNumber(0);
const s1 = slotNumber(1);
const s2 = slotNumber(2);
const a = { node: "a", slot: s0 };
const b = { node: "b", slot: s1 };
const c = { node: "c", slot: s2 };
const window = sectorRange(0, 64);

/** What an array of events makes of a node in slot 0, and the effects of the last one. */
function run(state: NodeState, ...events: NodeEvent[]): { state: NodeState; effects: readonly NodeEffect[] } {
  let effects: readonly NodeEffect[] = [];
  let next = state;
  for (const event of events) [next, effects] = stepNode(next, event);
  return { state: next, effects };
}

const calm = (...members: (typeof a)[]): NodeState =>
  run(
    newNode(s0, members),
    { type: "joined" },
    ...members
      .filter(({ slot }) => slot !== s0)
      .map(({ slot }) => ({ type: "peer", slot, needsResync: false }) as const),
  ).state;

describe("what a node knows of the others", () => {
  it("balances reads only once every other node has said that nothing is left", () => {
    const joined = run(newNode(s0, [a, b]), { type: "joined" });
    expect(joined.state.balance).toBe("first");
    const told = run(joined.state, { type: "peer", slot: s1, needsResync: false });
    expect(told.effects).toEqual([{ type: "balance", balance: "balanced" }]);
  });

  it("26.24: stops balancing at the first sign of a change, and goes on when it was nothing", () => {
    const prep = run(calm(a, b), { type: "prep" });
    expect(prep.effects).toEqual([{ type: "balance", balance: "first" }]);
    expect(run(prep.state, { type: "done", members: [a, b] }).effects).toEqual([
      { type: "balance", balance: "balanced" },
    ]);
  });

  it("takes over a dead node's slot and balances when the survivors have told who has the bits", () => {
    const died = run(calm(a, b, c), { type: "prep" }, { type: "died", member: c });
    expect(died.effects).toEqual([{ type: "recover", target: { slot: s2, node: "c", why: "died" } }]);
    const done = run(died.state, { type: "done", members: [a, b] });
    expect(done.state.balance).toBe("first");
    const recovered = run(done.state, { type: "recovered", slot: s2 });
    expect(recovered.effects).toEqual([{ type: "ask_peer", slot: s1 }]);
    expect(recovered.state.balance).toBe("first");
    expect(run(recovered.state, { type: "peer", slot: s1, needsResync: true }).state.balance).toBe("first");
    expect(run(recovered.state, { type: "peer", slot: s1, needsResync: false }).state.balance).toBe("balanced");
  });

  it("goes on to balance while another node only checks, and not before one that resyncs has said that nothing is left", () => {
    const check = { type: "window", slot: s1, range: window, isCheck: true } as const;
    const copies = { ...check, isCheck: false };
    const checked = run(calm(a, b, c), check);
    expect([checked.state.balance, checked.state.windows.get(s1)]).toEqual(["balanced", window]);
    expect(run(checked.state, copies).state.balance).toBe("first");
    const both = run(calm(a, b, c), copies, check);
    expect(both.state.balance).toBe("first");
    expect(run(both.state, { ...check, range: null }).state.balance).toBe("first");
    // What others have to copy has nothing to do with it; nor has its death.
    expect(run(calm(a, b, c), { ...copies, slot: s2 }, check).state.balance).toBe("first");
    expect(run(checked.state, { type: "died", member: b }).state.balance).toBe("first");
  });

  it("keeps a dead node's window until its bits have an owner", () => {
    const died = run(
      calm(a, b),
      { type: "window", slot: s1, range: window, isCheck: false },
      { type: "prep" },
      { type: "died", member: b },
      { type: "done", members: [a] },
    );
    expect(died.state.windows.get(s1)).toEqual(window);
    expect(run(died.state, { type: "recovered", slot: s1 }).effects).toContainEqual({ type: "resume", slot: s1 });
  });

  it("leaves the window of the slot's next owner alone when a late takeover ends", () => {
    const late = run(
      calm(a, b),
      { type: "died", member: b },
      { type: "done", members: [a] },
      { type: "done", members: [a, b] },
      { type: "window", slot: s1, range: window, isCheck: false },
      { type: "recovered", slot: s1 },
    );
    expect(late.state.windows.get(s1)).toEqual(window);
    expect(late.effects).not.toContainEqual({ type: "resume", slot: s1 });
  });

  it("27.4: leaves another node's window alone when a slot is recovered", () => {
    const state = run(
      calm(a, b, c),
      { type: "window", slot: s1, range: window, isCheck: false },
      { type: "died", member: c },
      { type: "recovered", slot: s2 },
    );
    expect(state.state.windows.get(s1)).toEqual(window);
    expect(state.effects).not.toContainEqual({ type: "resume", slot: s1 });
  });

  it("looks at the bitmap of a node that left in order, and keeps its window until then", () => {
    const left = run(
      calm(a, b),
      { type: "window", slot: s1, range: window, isCheck: false },
      { type: "prep" },
      { type: "done", members: [a] },
    );
    expect(left.effects).toEqual([{ type: "recover", target: { slot: s1, node: "b", why: "left" } }]);
    expect(left.state.balance).toBe("first");
    expect(run(left.state, { type: "recovered", slot: s1 }).effects).toEqual([
      { type: "balance", balance: "balanced" },
      { type: "resume", slot: s1 },
    ]);
  });

  it("26.9: treats a node that leaves with work like a dead one, once", () => {
    const leaving = run(calm(a, b), { type: "needs_sync", slot: s1 });
    expect(leaving.effects).toContainEqual({ type: "recover", target: { slot: s1, node: "b", why: "left" } });
    const third = run(leaving.state, { type: "prep" }, { type: "done", members: [a, b, c] });
    expect(third.effects).not.toContainEqual({ type: "adopted", slot: s1 });
    const gone = run(third.state, { type: "prep" }, { type: "done", members: [a, c] });
    expect(gone.effects).toEqual([]);
    expect(gone.state.recovering.map(({ slot }) => slot)).toEqual([s1]);
    const dies = run(leaving.state, { type: "died", member: b });
    expect(dies.effects).toEqual([]);
    expect(dies.state.recovering).toEqual([{ slot: s1, node: "b", why: "died" }]);
  });

  it("leaves the bits of a slot to its next owner, and does not believe it before it tells", () => {
    const dead = run(calm(a, b), { type: "prep" }, { type: "died", member: b }, { type: "done", members: [a] });
    const next = run(dead.state, { type: "prep" }, { type: "done", members: [a, { node: "b2", slot: s1 }] });
    expect(next.effects).toEqual([
      { type: "ask_peer", slot: s1 },
      { type: "adopted", slot: s1 },
    ]);
    expect(next.state).toMatchObject({ recovering: [], balance: "first" });
    expect(run(next.state, { type: "peer", slot: s1, needsResync: false }).state.balance).toBe("balanced");
  });

  it("recovers what died while it joined when it has joined", () => {
    const joining = run(newNode(s0, [a, b]), { type: "prep" }, { type: "died", member: b });
    expect(joining.effects).toEqual([]);
    expect(run(joining.state, { type: "done", members: [a] }, { type: "joined" }).effects).toEqual([
      { type: "recover", target: { slot: s1, node: "b", why: "died" } },
    ]);
  });

  it("stops at once when it is declared dead, and hears nothing afterwards", () => {
    const fenced = run(calm(a, b), { type: "fenced", reason: "slow" });
    expect(fenced.effects).toContainEqual({ type: "halt", reason: "slow" });
    expect(run(fenced.state, { type: "died", member: b }).effects).toEqual([]);
  });
});
