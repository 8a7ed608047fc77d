import { modesCompatible } from "../dlm/lock-mode.ts";
import type { Frozen, LockspaceDump, ResourceDump } from "../dlm/lockspace.ts";
import type { LockConflictInfo, LockResource, LocksData } from "./control-api.ts";
import { holderText } from "./holder-text.ts";
import { lockValue, messageText } from "./lock-value.ts";

/** What is not in the dump. Times are `Clock.now`. */
export interface LocksContext {
  readonly now: number;
  /** What becomes of a node that is not well ("is declared dead in 4.2 s ..."), by name. */
  readonly notes: ReadonlyMap<string, string>;
  /** Nodes that died and whose slots are being taken over, by slot. */
  readonly dead: ReadonlyMap<number, string>;
  readonly frozen: Frozen | null;
}

/** An array's locks in the words of the control API: nodes by name, values decoded, who waits for whom. */
export function locksData(array: string, dump: LockspaceDump, context: LocksContext): LocksData {
  const nodeOf = (slot: number): string =>
    dump.members.find((member) => member.slot === slot)?.node ?? context.dead.get(slot) ?? `slot ${slot}`;
  const told = dump.resources.find(({ name }) => name === "message");
  const message = told === undefined ? null : messageText(told);
  const view = { ...context, nodeOf, message };
  const resources = [...dump.resources].sort(byRank);
  return {
    array,
    generation: dump.generation,
    nodes: columnsOf(dump, context),
    rebuilding: dump.rebuilding,
    resources: resources.map((resource) => lockResource(resource, view)),
    blocked: resources.flatMap((resource) => blockedOn(resource, view)),
    conflicts: conflictsOf(context.frozen),
  };
}

/** Members, and who died and is not replaced yet, by slot. */
function columnsOf({ members }: LockspaceDump, { dead }: LocksContext): readonly string[] {
  const bySlot = new Map<number, string>([...dead, ...members.map(({ slot, node }) => [slot, node] as const)]);
  return [...bySlot].sort(([a], [b]) => a - b).map(([, node]) => node);
}

interface View extends LocksContext {
  readonly nodeOf: (slot: number) => string;
  /** The message that is being sent. */
  readonly message: string | null;
}

const order = ["token", "message", "ack", "no-new-dev", "resync"];
const rank = ({ name }: ResourceDump): number => (order.includes(name) ? order.indexOf(name) : order.length);
const byRank = (a: ResourceDump, b: ResourceDump): number => rank(a) - rank(b) || (a.name < b.name ? -1 : 1);

const conflictsOf = (frozen: Frozen | null): readonly LockConflictInfo[] =>
  (frozen?.conflicts ?? []).map(({ resource, locks }) => ({
    resource,
    holders: locks.map(({ node, mode }) => ({ node, mode })),
  }));

function lockResource(resource: ResourceDump, { nodeOf, now, dead }: View): LockResource {
  const { granted, converting, waiting } = resource;
  const wait = (since: number | null): number | null => (since === null ? null : age(now, since));
  // What was granted before this node came is older than what it knows of.
  const known = granted.flatMap(({ since }) => since ?? []);
  return {
    name: resource.name,
    grants: [...granted].sort((a, b) => a.slot - b.slot).map(({ slot, mode }) => ({ node: nodeOf(slot), mode })),
    convert: converting.map(({ slot, from, to, since }) => ({
      node: nodeOf(slot),
      from,
      to,
      waitSeconds: wait(since),
    })),
    queue: waiting.map(({ slot, mode, since }) => ({ node: nodeOf(slot), mode, waitSeconds: wait(since) })),
    value: lockValue(resource, dead),
    ageSeconds: known.length === 0 ? null : age(now, Math.max(...known)),
  };
}

const age = (now: number, since: number): number => Math.max(0, Math.round((now - since) / 100) / 10);

interface Waiter {
  readonly slot: number;
  readonly mode: ResourceDump["waiting"][number]["mode"];
  readonly since: number | null;
}

function blockedOn(resource: ResourceDump, view: View): LocksData["blocked"] {
  const converting = resource.converting.map(({ slot, to, since }): Waiter => ({ slot, mode: to, since }));
  const queue: readonly Waiter[] = [...converting, ...resource.waiting];
  const held = [...resource.granted, ...resource.converting.map(({ slot, from }) => ({ slot, mode: from }))];
  return queue.map(({ slot, mode, since }, place) => {
    const holders = held.filter((lock) => lock.slot !== slot && !modesCompatible(lock.mode, mode));
    const ahead = queue.slice(0, place).map((waiter) => view.nodeOf(waiter.slot));
    const why =
      holders.length > 0
        ? holders.map((holder) => whyOf(resource.name, view.nodeOf(holder.slot), holder.mode, view))
        : ahead.length > 0
          ? [`${ahead.join(", ")} came before`]
          : ["it is next"];
    return {
      node: view.nodeOf(slot),
      resource: resource.name,
      behind: holders.length > 0 ? holders.map((holder) => view.nodeOf(holder.slot)) : ahead,
      waitSeconds: since === null ? null : age(view.now, since),
      why: why.join(", "),
    };
  });
}

/** A node that is not well says more than what it holds. */
function whyOf(resource: string, node: string, mode: string, { notes, message }: View): string {
  const note = notes.get(node);
  return note === undefined ? holderText(resource, node, mode, message) : `${node} ${note}`;
}
