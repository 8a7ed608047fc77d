import { unreachable } from "../base/assert.ts";
import type { SectorRange, SlotNumber } from "../base/units.ts";
import type { LockspaceMember } from "../dlm/lockspace.ts";
import type { ReadBalance } from "../engine/engine-protocol.ts";

/**
 * What this node knows of the others, and what follows from it. Pure.
 *
 * Reads may be balanced only while no chunk of a slot that is not ours may differ between the copies: from the first
 * sign of a change in membership until every dead slot's bitmap has an owner again and every live owner has said that
 * nothing is left. (Of our own chunks the data plane knows better: it decides for each.)
 */
export interface NodeState {
  readonly phase: "joining" | "active" | "leaving" | "fenced";
  readonly own: SlotNumber;
  /** All live members, ourselves included. */
  readonly members: readonly LockspaceMember[];
  /** The membership is changing: between recoverPrep and recoverDone. */
  readonly changing: boolean;
  /** Slots whose owner is gone, until their bits (if any are left) have a new owner; in the order in which we learnt of it. */
  readonly recovering: readonly RecoveringSlot[];
  /** What each other slot suspends, also of owners that are gone. */
  readonly windows: ReadonlyMap<SlotNumber, SectorRange>;
  /** Live peers that (for all we know) have chunks that need a resync. */
  readonly unresynced: ReadonlySet<SlotNumber>;
  readonly balance: ReadBalance;
}

export interface RecoveringSlot {
  readonly slot: SlotNumber;
  /** For people. */
  readonly node: string;
  /** died: what it said last may not have reached everybody. left: in good order. */
  readonly why: "died" | "left";
}

export type NodeEvent =
  | { readonly type: "prep" }
  | { readonly type: "died"; readonly member: LockspaceMember }
  | { readonly type: "done"; readonly members: readonly LockspaceMember[] }
  /** BITMAP_NEEDS_SYNC. */
  | { readonly type: "needs_sync"; readonly slot: SlotNumber }
  /** The bits of `slot` are ours, or somebody else's, or there were none. */
  | { readonly type: "recovered"; readonly slot: SlotNumber }
  | { readonly type: "peer"; readonly slot: SlotNumber; readonly needsResync: boolean }
  /** `isCheck`: its owner copies nothing there, and that it does says nothing of what it has to copy. */
  | {
      readonly type: "window";
      readonly slot: SlotNumber;
      readonly range: SectorRange | null;
      readonly isCheck: boolean;
    }
  /** Ready for IO: what died while we joined is recovered now. */
  | { readonly type: "joined" }
  | { readonly type: "leave" }
  | { readonly type: "fenced"; readonly reason: string };

export type NodeEffect =
  | { readonly type: "balance"; readonly balance: ReadBalance }
  /** Take over this slot's bitmap. */
  | { readonly type: "recover"; readonly target: RecoveringSlot }
  /** The slot has a new owner: do not wait for its bitmap any more. */
  | { readonly type: "adopted"; readonly slot: SlotNumber }
  /** Our writes need not wait for that slot's window any more. */
  | { readonly type: "resume"; readonly slot: SlotNumber }
  /** Look at what this live peer says of its bitmap. */
  | { readonly type: "ask_peer"; readonly slot: SlotNumber }
  | { readonly type: "halt"; readonly reason: string };

export type NodeStep = readonly [NodeState, readonly NodeEffect[]];

export function newNode(own: SlotNumber, members: readonly LockspaceMember[]): NodeState {
  return {
    phase: "joining",
    own,
    members,
    changing: false,
    recovering: [],
    windows: new Map(),
    unresynced: new Set(members.map(({ slot }) => slot).filter((slot) => slot !== own)),
    balance: "first",
  };
}

export function stepNode(state: NodeState, event: NodeEvent): NodeStep {
  if (state.phase === "fenced") return [state, []];
  const [next, effects] = change(state, event);
  return rebalance(next, effects);
}

function change(state: NodeState, event: NodeEvent): NodeStep {
  switch (event.type) {
    case "prep":
      return [{ ...state, changing: true }, []];
    case "died":
      return startRecovery(withoutPeer(state, event.member.slot), { ...event.member, why: "died" });
    case "done":
      return onDone(state, event.members);
    case "needs_sync": {
      const node = state.members.find(({ slot }) => slot === event.slot)?.node ?? `slot ${event.slot}`;
      return startRecovery(state, { slot: event.slot, node, why: "left" });
    }
    case "recovered":
      return onRecovered(state, event.slot);
    case "peer":
      return onPeer(state, event.slot, event.needsResync);
    case "window":
      return onWindow(state, event.slot, event.range, event.isCheck);
    case "joined":
      return [{ ...state, phase: "active" }, state.recovering.map((target) => ({ type: "recover", target }))];
    case "leave":
      return [{ ...state, phase: "leaving" }, []];
    case "fenced":
      return [{ ...state, phase: "fenced" }, [{ type: "halt", reason: event.reason }]];
    default:
      return unreachable(event);
  }
}

/** A node that has not read its own bitmap yet must not fold another one into it; a leaving one leaves it to others. */
function startRecovery(state: NodeState, target: RecoveringSlot): NodeStep {
  const known = state.recovering.find(({ slot }) => slot === target.slot);
  if (known !== undefined) {
    // It said that it leaves and then died of it: one takeover, but what it said last may have been missed.
    const recovering = state.recovering.map((each) => (each === known && target.why === "died" ? target : each));
    return [{ ...state, recovering }, []];
  }
  const next = { ...state, recovering: [...state.recovering, target] };
  return [next, state.phase === "active" ? [{ type: "recover", target }] : []];
}

function onDone(state: NodeState, members: readonly LockspaceMember[]): NodeStep {
  const effects: NodeEffect[] = [];
  let next: NodeState = { ...state, members, changing: false };
  const live = new Set(members.map(({ slot }) => slot));
  for (const { slot, node } of state.members) {
    if (slot === state.own || live.has(slot)) continue;
    // Whether it had something to hand over its bitmap tells: what it said of that may not have reached us.
    const [started, recover] = startRecovery(withoutPeer(next, slot), { slot, node, why: "left" });
    next = started;
    effects.push(...recover);
  }
  for (const { slot, node } of members) {
    if (slot === state.own) continue;
    const before = state.members.find((member) => member.slot === slot);
    if (before?.node === node && !isRecovering(state, slot)) continue;
    // New, or the next owner of a slot: whatever its bitmap holds is its own affair, and until it tells, the worst holds.
    next = withPeer(next, slot);
    effects.push({ type: "ask_peer", slot });
    if (isRecovering(state, slot) && !stillLeaving(state, slot, node)) {
      next = { ...next, recovering: next.recovering.filter((target) => target.slot !== slot) };
      effects.push({ type: "adopted", slot });
      if (next.windows.has(slot)) {
        next = withoutWindow(next, slot);
        effects.push({ type: "resume", slot });
      }
    }
  }
  return [next, effects];
}

const isRecovering = (state: NodeState, slot: SlotNumber): boolean =>
  state.recovering.some((target) => target.slot === slot);

/** BITMAP_NEEDS_SYNC comes before its sender is gone: seeing it still there does not make it a new owner. */
const stillLeaving = (state: NodeState, slot: SlotNumber, node: string): boolean =>
  state.recovering.some((target) => target.slot === slot && target.why === "left" && target.node === node) &&
  state.members.some((member) => member.slot === slot && member.node === node);

/** Somebody has the bits now, perhaps we: who, the peers' flags tell. */
function onRecovered(state: NodeState, slot: SlotNumber): NodeStep {
  const effects: NodeEffect[] = [];
  let next: NodeState = { ...state, recovering: state.recovering.filter((target) => target.slot !== slot) };
  // Else it has its next owner, and the window is that one's.
  if (isRecovering(state, slot) && next.windows.has(slot)) {
    next = withoutWindow(next, slot);
    effects.push({ type: "resume", slot });
  }
  for (const member of next.members) {
    if (member.slot === next.own || member.slot === slot) continue;
    next = withPeer(next, member.slot);
    effects.push({ type: "ask_peer", slot: member.slot });
  }
  return [next, effects];
}

function onPeer(state: NodeState, slot: SlotNumber, needsResync: boolean): NodeStep {
  if (!state.members.some((member) => member.slot === slot)) return [state, []];
  return [needsResync ? withPeer(state, slot) : withoutPeer(state, slot), []];
}

function onWindow(state: NodeState, slot: SlotNumber, range: SectorRange | null, isCheck: boolean): NodeStep {
  if (range === null) return [withoutWindow(state, slot), []];
  const next = { ...state, windows: new Map(state.windows).set(slot, range) };
  return [isCheck ? next : withPeer(next, slot), []];
}

const withPeer = (state: NodeState, slot: SlotNumber): NodeState => ({
  ...state,
  unresynced: new Set(state.unresynced).add(slot),
});

const withoutPeer = (state: NodeState, slot: SlotNumber): NodeState => ({
  ...state,
  unresynced: new Set([...state.unresynced].filter((each) => each !== slot)),
});

const withoutWindow = (state: NodeState, slot: SlotNumber): NodeState => ({
  ...state,
  windows: new Map([...state.windows].filter(([each]) => each !== slot)),
});

function rebalance(state: NodeState, effects: readonly NodeEffect[]): NodeStep {
  const settled = !state.changing && state.recovering.length === 0 && state.unresynced.size === 0;
  const balance: ReadBalance = settled && state.phase === "active" ? "balanced" : "first";
  if (balance === state.balance) return [state, effects];
  return [{ ...state, balance }, [{ type: "balance", balance }, ...effects]];
}
