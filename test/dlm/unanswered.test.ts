import { describe, expect, it } from "vitest";
import type { BatchStep, HeldLock } from "../../src/dlm/lock-call.ts";
import { lockFlag } from "../../src/dlm/lock-flags.ts";
import { lockModes, modesCompatible } from "../../src/dlm/lock-mode.ts";
import { settleUnanswered, weakerOf } from "../../src/dlm/unanswered.ts";

const [NL, CR, CW, PR, PW, EX] = [0, 1, 2, 3, 4, 5] as const;
const { VALBLK, FORCEUNLOCK, CANCEL } = lockFlag;
const nothing = { steps: 0, refused: false };

const held = (lkid: number, gr: number): HeldLock => ({
  lkid,
  name: `r${lkid}`,
  queue: "g",
  gr,
  rq: -1,
  ex: 0,
  bast: false,
  order: 1,
  lvb: "old",
  lvbSeq: 7,
});
const to = (lkid: number, mode: number, more: Partial<BatchStep> = {}): BatchStep => ({
  name: `r${lkid}`,
  lkid,
  mode,
  flags: 0,
  ...more,
});
const settle = (locks: readonly HeldLock[], steps: readonly BatchStep[], heard = nothing) => {
  const { done, complete, locks: after } = settleUnanswered(locks, { op: "batch", steps }, heard);
  return { done, complete, modes: after.map(({ gr }) => gr) };
};

describe("a call whose answer was lost with the lock server's state", () => {
  it("never leaves a claim to a mode that it may have given up", () => {
    for (const gr of [NL, CR, CW, PR, PW, EX]) {
      for (const mode of [NL, CR, CW, PR, PW, EX]) {
        const { modes, done } = settle([held(1, gr)], [to(1, mode)]);
        const claimed = lockModes[modes[0] ?? -1] ?? "EX";
        // Whoever gets on with the mode that was held and with the one that was asked for gets on with what is claimed.
        for (const other of lockModes) {
          const was = modesCompatible(lockModes[gr] ?? "EX", other);
          const may = modesCompatible(lockModes[mode] ?? "EX", other);
          if (was || may) expect(modesCompatible(claimed, other)).toBe(true);
        }
        const down = mode <= gr && !(gr === PR && mode === CW);
        expect(done).toBe(down ? 1 : 0);
      }
    }
  });

  it("counts the value that it wrote as written", () => {
    const write = to(1, CW, { flags: VALBLK, lvb: "new" });
    const { locks, complete } = settleUnanswered([held(1, EX)], { op: "convert", ...write }, nothing);
    expect([complete, locks]).toMatchObject([true, [{ gr: CW, lvb: "new", lvbSeq: 8, ex: VALBLK }]]);
    // One that reads must be executed: nobody knows what it would have read.
    expect(settle([held(1, CR)], [to(1, CR, { flags: VALBLK, lvb: "" })])).toMatchObject({ done: 0, complete: false });
    expect(settle([held(1, CR)], [to(1, CR)])).toMatchObject({ done: 1, complete: true });
  });

  it("is done up to the first step that others may have held up, and holds on to nothing that comes after it", () => {
    const locks = [held(1, EX), held(2, CR), held(3, EX)];
    const steps = [to(1, CW), to(2, EX), to(3, NL), to(1, NL)];
    expect(settle(locks, steps)).toEqual({ done: 1, complete: false, modes: [NL, CR, NL] });
    const later = [to(2, EX), to(3, PW, { flags: VALBLK, lvb: "new" })];
    const { locks: after } = settleUnanswered(locks, { op: "batch", steps: later }, nothing);
    expect(after[2]).toMatchObject({ gr: PW, lvb: "new", lvbSeq: 8 });
  });

  it("is done as far as it was heard of", () => {
    const steps = [to(1, EX), to(1, PW), to(1, EX), to(2, NL)];
    expect(settle([held(1, PW), held(2, EX)], steps, { steps: 2, refused: false })).toMatchObject({
      done: 0,
      complete: false,
      modes: [PW, NL],
    });
    expect(settle([held(1, PW), held(2, EX)], steps, { steps: 3, refused: true })).toMatchObject({
      complete: true,
      modes: [PW, EX],
    });
  });

  it("takes an unlock for done, and repeats a cancellation and a request", () => {
    const unlock = (flags: number) => ({ op: "unlock", name: "r1", lkid: 1, flags }) as const;
    const locks = [held(1, EX), held(2, EX)];
    expect(settleUnanswered(locks, unlock(FORCEUNLOCK), nothing)).toMatchObject({
      complete: true,
      locks: [{ lkid: 2 }],
    });
    expect(settleUnanswered(locks, unlock(CANCEL), nothing)).toEqual({ locks, done: 0, complete: false });
    const request = { op: "lock", name: "r", mode: NL, flags: 0, bast: false } as const;
    expect(settleUnanswered(locks, request, nothing)).toEqual({ locks, done: 0, complete: false });
  });

  it("lets in whom either of two modes lets in", () => {
    expect([weakerOf(CW, PR), weakerOf(PR, CW), weakerOf(EX, PR), weakerOf(NL, EX)]).toEqual([CR, CR, PR, NL]);
  });
});
