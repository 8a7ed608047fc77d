import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { LockReply, MemberRecord } from "../../src/dlm/lock-call.ts";
import { lockStatus } from "../../src/dlm/lock-status.ts";
import { type RemasterEvent, type RemasterState, stepRemaster } from "../../src/dlm/remaster.ts";

const { OK, ENOLS, EIDENT, EEPOCH, ELOST, EFENCED, EGAP, ECONFLICT, ESTALE, EPROTO } = lockStatus;
const member = (node: string, state: MemberRecord["state"]): MemberRecord => ({
  slot: 1,
  incarnation: node,
  counter: 1,
  node,
  state,
});
const reply = (rc: number, more: Partial<LockReply> = {}): LockReply => ({
  rc,
  value: 0,
  seq: 1,
  epoch: 1,
  generation: 1,
  events: [],
  ...more,
});
const call = (rc: number, more: Partial<LockReply> = {}): RemasterEvent => ({
  type: "answered",
  to: "call",
  reply: reply(rc, more),
  now: 50,
});
const report = (rc: number, more: Partial<LockReply> = {}): RemasterEvent => ({
  type: "answered",
  to: "report",
  reply: reply(rc, more),
  now: 60,
});
const start = (): RemasterState => ({ phase: "running", epoch: 1 });
const walk = (...events: RemasterEvent[]): readonly [RemasterState, readonly string[]] => {
  let state = start();
  let effects: readonly string[] = [];
  for (const event of events) {
    const [next, done] = stepRemaster(state, event);
    state = next;
    effects = done.map((effect) => (effect.type === "enter" ? `enter ${effect.epoch}` : effect.type));
  }
  return [state, effects];
};
const collected: RemasterEvent = { type: "collected" };
const waiting = { state: "recover", epoch: 2, members: [member("a", "active"), member("b", "absent")] } as const;

describe("what a member does when the lock server has lost its state", () => {
  it.each([ENOLS, EIDENT, EEPOCH, ELOST])("parks its calls and collects what it holds (%i)", (rc) => {
    const [state, effects] = walk(call(rc, { server: "second" }));
    expect(effects).toEqual(["park", "collect", "tell"]);
    expect(state).toMatchObject({ phase: "collecting", epoch: 1, since: 50, server: "second" });
    expect(walk(call(rc), collected)[1]).toEqual(["report"]);
  });

  it.each([EFENCED, EGAP])("ends where nothing can be done (%i), by a call as by a report", (rc) => {
    expect(walk(call(rc))).toEqual([{ phase: "ended" }, ["end"]]);
    expect(walk(call(ENOLS), collected, report(rc))).toEqual([{ phase: "ended" }, ["end"]]);
    expect(walk(call(ENOLS), collected, report(EPROTO))[1]).toEqual(["end"]);
  });

  it("enters the new epoch with its report, waits for the others', and goes on when all have come", () => {
    const [state, effects] = walk(call(ENOLS), collected, report(OK, waiting));
    expect([state.phase, effects]).toEqual(["checked_in", ["enter 2", "tell"]]);
    const news = { ...waiting, members: [member("a", "active"), member("b", "active")] };
    expect(walk(call(ENOLS), collected, report(OK, waiting), call(OK, waiting))[1]).toEqual([]);
    expect(walk(call(ENOLS), collected, report(OK, waiting), call(OK, news))[1]).toEqual(["tell"]);
    for (const end of [
      call(OK, { state: "run", epoch: 2 }),
      { type: "notified" } as const,
      report(OK, { state: "run", epoch: 2 }),
    ]) {
      const [running, goOn] = walk(call(ENOLS), collected, report(OK, waiting), end);
      expect([running, goOn]).toEqual([{ phase: "running", epoch: 2 }, ["resume", "tell"]]);
    }
  });

  it("goes on at once when it was the last to report, and as before when nothing was lost after all", () => {
    expect(walk(call(EEPOCH), collected, report(OK, { state: "run", epoch: 7 }))).toEqual([
      { phase: "running", epoch: 7 },
      ["enter 7", "resume", "tell"],
    ]);
    expect(walk(call(ENOLS), collected, report(OK, { state: "run", epoch: 1 }))[1]).toEqual(["resume", "tell"]);
  });

  it("reports to the life of the lock server that refused it, and collects anew when it loses it once more", () => {
    const [state] = walk(call(ENOLS, { server: "second" }), collected, report(EIDENT, { server: "third" }));
    expect(state).toMatchObject({ phase: "reporting", server: "third" });
    const [again, effects] = walk(call(ENOLS), collected, report(OK, waiting), call(EEPOCH));
    expect([again.phase, effects]).toEqual(["collecting", ["park", "collect", "tell"]]);
    expect(again).toMatchObject({ since: 50, epoch: 2, members: null });
  });

  it("tells of a conflict as long as there is one", () => {
    const conflicts = [{ name: "token", locks: [] }];
    const [state, effects] = walk(
      call(ENOLS),
      collected,
      report(OK, waiting),
      report(ECONFLICT, { ...waiting, conflicts }),
    );
    expect([state, effects]).toMatchObject([{ phase: "checked_in", conflicts }, ["tell"]]);
  });

  it("lets nothing through that is out of turn", () => {
    const answer = fc.constantFrom(OK, ENOLS, EIDENT, EEPOCH, ELOST, ECONFLICT, ESTALE);
    const phase = fc.constantFrom("run" as const, "recover" as const, undefined);
    const about = fc.record({ rc: answer, state: phase, epoch: fc.integer({ min: 1, max: 4 }) });
    const event: fc.Arbitrary<RemasterEvent> = fc.oneof(
      about.map(({ rc, state, epoch }) => call(rc, { epoch, ...(state && { state }) })),
      about.map(({ rc, state, epoch }) => report(rc, { epoch, ...(state && { state }) })),
      fc.constantFrom(collected, { type: "notified" } as const),
    );
    const property = fc.property(fc.array(event, { maxLength: 30 }), (events) => {
      let state = start();
      let parked = false;
      for (const each of events) {
        const [next, effects] = stepRemaster(state, each);
        for (const { type } of effects) {
          // Nothing is entered or resumed but what was parked; and it is reported only what was collected.
          if (type === "park") parked = true;
          if (type === "enter" || type === "resume") expect(parked).toBe(true);
          if (type === "resume") parked = false;
          if (type === "report") expect(state.phase).toBe("collecting");
          if (type === "collect") expect(["running", "checked_in"]).toContain(state.phase);
        }
        if (next.phase !== "ended") expect(parked).toBe(next.phase !== "running");
        state = next;
      }
    });
    fc.assert(property, { numRuns: 2000 });
  });
});
