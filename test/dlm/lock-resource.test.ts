import { describe, expect, it } from "vitest";
import { lockModes, modesCompatible } from "../../src/dlm/lock-mode.ts";
import { cancelLock, convertLock, grantPending, requestLock, unlockLock } from "../../src/dlm/lock-resource.ts";
import { emptyResource, type LockResource, type ResourceLock } from "../../src/dlm/resource-state.ts";

const ignore = (): void => {};
const modes = [0, 1, 2, 3, 4, 5];

const clone = (r: LockResource): LockResource => structuredClone(r);

function find(r: LockResource, lkid: number): ResourceLock | undefined {
  return [...r.granted, ...r.convert, ...r.wait].find((l) => l.lkid === lkid);
}

/** Two states are the same if the three queues are, in order; with or without the mode announced to each holder. */
const keyOf = (r: LockResource, withHi: boolean): string =>
  [r.granted, r.convert, r.wait]
    .map((queue) => queue.map((l) => [l.lkid, l.gr, l.rq, withHi ? l.hi : ""].join(",")).join(" "))
    .join("|");

/** Everything one identity can do next. */
function* steps(r: LockResource, lkid: number): Generator<LockResource> {
  const own = find(r, lkid);
  if (own === undefined) {
    for (const mode of modes) {
      const next = clone(r);
      const lock = { lkid, slot: lkid, gr: -1, rq: mode, ex: 0, sb: 0, hi: 0, bast: true, lvbSeq: 0, order: 0 };
      requestLock(next, lock, ignore);
      yield next;
    }
  } else if (r.granted.includes(own)) {
    for (const mode of modes) {
      const next = clone(r);
      const lock = find(next, lkid);
      if (lock !== undefined) convertLock(next, lock, { mode, flags: 0, input: null }, ignore);
      yield next;
    }
    const next = clone(r);
    const lock = find(next, lkid);
    if (lock !== undefined) unlockLock(next, lock, { flags: 0, input: null }, ignore);
    yield next;
  } else {
    const next = clone(r);
    const lock = find(next, lkid);
    if (lock !== undefined) cancelLock(next, lock, ignore);
    yield next;
  }
}

function explore(identities: number, withHi: boolean, check: (r: LockResource) => void) {
  const seen = new Set<string>();
  const todo = [emptyResource("r")];
  seen.add(keyOf(emptyResource("r"), withHi));
  let transitions = 0;
  for (let r = todo.pop(); r !== undefined; r = todo.pop()) {
    check(r);
    for (let lkid = 1; lkid <= identities; lkid++) {
      for (const next of steps(r, lkid)) {
        transitions += 1;
        const key = keyOf(next, withHi);
        if (seen.has(key)) continue;
        seen.add(key);
        todo.push(next);
      }
    }
  }
  return { states: seen.size, transitions };
}

function checkState(r: LockResource): void {
  const holders = [...r.granted, ...r.convert];
  for (const [at, a] of holders.entries()) {
    for (const b of holders.slice(at + 1)) {
      const [one, other] = [lockModes[a.gr], lockModes[b.gr]];
      const compatible = one === undefined || other === undefined || modesCompatible(one, other);
      if (!compatible) throw new Error(`${one} and ${other} are both granted: ${keyOf(r, true)}`);
    }
  }
  // (Warnings may repeat: PR and CW warn each other until somebody wants EX.)
  grantPending(clone(r), ({ type }) => {
    if (type === "cast") throw new Error(`something could still be granted: ${keyOf(r, true)}`);
  });
}

describe("the lock algorithm, exhaustively", () => {
  it.each([
    [1, 7, 48, 7, 48],
    [2, 157, 1560, 609, 6476],
  ])(
    "reaches exactly the known states with %i identities, all of them sound",
    (k, states, transitions, hiStates, hiTransitions) => {
      expect(explore(k, false, ignore)).toEqual({ states, transitions });
      expect(explore(k, true, checkState)).toEqual({ states: hiStates, transitions: hiTransitions });
    },
  );

  it("is sound in all states of three identities", { timeout: 60_000 }, () => {
    expect(explore(3, false, checkState)).toEqual({ states: 5245, transitions: 62082 });
    expect(explore(3, true, checkState)).toEqual({ states: 25072, transitions: 341457 });
  });
});
