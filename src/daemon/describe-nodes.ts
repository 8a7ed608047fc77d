import { longestSilence } from "../dlm/lease.ts";
import type { MemberStatus } from "../dlm/lockspace-status.ts";
import type { ArraySession } from "./array-session.ts";
import type { NodeInfo } from "./control-api.ts";
import type { Daemon } from "./daemon.ts";
import { CLUSTER_PROTOCOL } from "./node-card.ts";

export const LEASE_ONLY = "lease only";

type SlotOf = { readonly array: string; readonly slot: ReturnType<ArraySession["status"]>["slots"][number] };

/** Every node that this one knows of: the daemons of the cluster, and who has a slot of one of our arrays. */
export function describeNodes(daemon: Daemon): readonly NodeInfo[] {
  const { node: self } = daemon.config;
  const known = new Map(daemon.membership.nodes.map((node) => [node.name, node]));
  const statuses = daemon.sessions.map((session) => ({ session, status: session.status() }));
  const names = new Set([self, ...known.keys()]);
  for (const { status } of statuses) for (const { node } of status.slots) if (node !== null) names.add(node);
  const members = daemon.lockspaces.flatMap(({ status }) =>
    status.members.map((member): Seat => ({ member, asOf: status.renewedAt })),
  );

  const nodes = [...names].map((name): NodeInfo => {
    const node = known.get(name);
    const slots = statuses.flatMap(({ session, status }) =>
      status.slots.filter((slot) => slot.node === name).map((slot) => ({ array: session.name, slot })),
    );
    const seats = members.filter(({ member }) => member.node === name);
    const isSelf = name === self;
    const state = isSelf ? "up" : stateOf(daemon, node?.state ?? null, slots, seats);
    return {
      name,
      slot: slots[0]?.slot.slot ?? null,
      state,
      lastSeenSeconds: isSelf
        ? ownAge(daemon)
        : lastSeen(daemon, [node?.seenAt ?? null, ...seats.map(({ member }) => member.seenAt)]),
      rttMillis: null,
      protocol: isSelf ? CLUSTER_PROTOCOL : (node?.card?.protocol ?? null),
      version: isSelf ? daemon.version : (node?.card?.version ?? null),
      frozen: isSelf && daemon.frozen() !== null,
      frozenWhy: isSelf ? (daemon.frozen()?.text ?? null) : null,
      note: isSelf ? null : noteOf(daemon, state, slots, seats),
      protection: daemon.fencingMethods ?? LEASE_ONLY,
      arrays: slots.map(({ array }) => array),
    };
  });
  return nodes.sort((a, b) => (a.slot ?? 999) - (b.slot ?? 999) || a.name.localeCompare(b.name));
}

/** A node's place in a lockspace, as an answer at `asOf` showed it. */
interface Seat {
  readonly member: MemberStatus;
  readonly asOf: number;
}

function stateOf(
  daemon: Daemon,
  known: "up" | "down" | null,
  slots: readonly SlotOf[],
  seats: readonly Seat[],
): NodeInfo["state"] {
  const fencing = seats.some(({ member }) => member.fencing !== null);
  const recovering = slots.some(({ slot }) => slot.state === "recovering");
  if (known === "down" || fencing || (recovering && known !== "up")) return "down";
  return seats.some((seat) => isLate(daemon, seat)) ? "suspect" : "up";
}

/** When we last heard of it, it had not renewed for half a lease (nor had the lock service been silent meanwhile). */
const isLate = ({ config }: Daemon, { member: { deadAt }, asOf }: Seat): boolean =>
  deadAt !== null && asOf > deadAt - longestSilence(config.lease);

/** Since our own last renewal: others see us so. */
const ownAge = (daemon: Daemon): number =>
  lastSeen(
    daemon,
    daemon.lockspaces.map(({ status }) => status.renewedAt),
  ) ?? 0;

function lastSeen(daemon: Daemon, times: readonly (number | null)[]): number | null {
  const latest = Math.max(...times.flatMap((at) => at ?? []));
  return Number.isFinite(latest) ? Math.round((daemon.env.clock.now() - latest) / 100) / 10 : null;
}

/** What becomes of a node that is not well. */
function noteOf(
  daemon: Daemon,
  state: NodeInfo["state"],
  slots: readonly SlotOf[],
  seats: readonly Seat[],
): string | null {
  const [fenced] = seats.flatMap(({ member: { fencing } }) => fencing ?? []);
  if (fenced !== undefined) {
    const by = fenced.by === null ? "" : ` by ${fenced.by}`;
    const failed = fenced.tries === 0 ? "" : `, ${fenced.tries} ${fenced.tries === 1 ? "try" : "tries"} failed`;
    return `is being fenced${by}${failed}; its locks stand until then`;
  }
  if (state === "suspect") {
    const deadAt = Math.max(...seats.flatMap(({ member }) => member.deadAt ?? []));
    if (!Number.isFinite(deadAt)) return null;
    const left = Math.max(0, deadAt - daemon.env.clock.now());
    return `is declared dead in ${(left / 1000).toFixed(1)} s unless it renews`;
  }
  const arrays = slots.filter(({ slot }) => slot.state === "recovering").map(({ array }) => array);
  return arrays.length === 0 ? null : `its slot of ${arrays.join(", ")} is being taken over`;
}
