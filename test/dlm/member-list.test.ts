import { describe, expect, it } from "vitest";
import type { MemberRecord } from "../../src/dlm/lock-call.ts";
import { MemberList } from "../../src/dlm/member-list.ts";

const member = (slot: number, node: string): MemberRecord => ({
  slot,
  incarnation: node,
  counter: 0,
  node,
  state: "active",
});
const places = (...nodes: string[]) => nodes.map((node, at) => ({ slot: at + 1, node }));
const nodes = (list: MemberList): string[] => list.records.map(({ node }) => node);

describe("the list of members for a report", () => {
  it("forgets who is gone at once", () => {
    const list = new MemberList(2, [member(1, "a"), member(2, "b")]);
    list.settle(3, places("a"));
    expect([nodes(list), list.generation]).toEqual([["a"], 3]);
  });

  it("does not say that a newcomer is known before it is on the list", () => {
    const list = new MemberList(1, [member(1, "a")]);
    list.settle(2, places("a", "b"));
    expect([nodes(list), list.generation, list.learned]).toEqual([["a"], 2, 1]);
    list.learn(2, [member(1, "a"), member(2, "b")]);
    expect([nodes(list), list.learned]).toEqual([["a", "b"], 2]);
  });

  it("takes no list that was overtaken", () => {
    const list = new MemberList(3, [member(1, "a")]);
    list.learn(2, [member(1, "a"), member(2, "b")]);
    expect([nodes(list), list.learned]).toEqual([["a"], 3]);
  });
});
