import { MdError } from "../base/md-error.ts";
import { longestSilence } from "../dlm/lease.ts";
import type { LockspaceMember } from "../dlm/lockspace.ts";
import type { LockspaceStatus, MemberStatus } from "../dlm/lockspace-status.ts";
import { sleep } from "../env/clock.ts";
import type { Daemon } from "./daemon.ts";
import { lockServiceLost } from "./lock-service-lost.ts";

const POLL_MS = 50;

/** A node's place in a lockspace of ours; `array` is null for the daemons' own. */
interface Seat {
  readonly array: string | null;
  readonly member: MemberStatus;
  readonly status: LockspaceStatus;
  evict(member: LockspaceMember): Promise<void>;
}

export interface Evicted {
  readonly array: string | null;
  readonly slot: number;
}

/**
 * Waits until `node` is no member of any lockspace of this node: its lease has surely expired, or whoever fences it has
 * succeeded. E_NODE_ALIVE when it renews, E_LOCK_SERVICE_LOST, E_CANCELLED by `signal`.
 */
export async function awaitEviction(daemon: Daemon, node: string, signal: AbortSignal): Promise<readonly Evicted[]> {
  const first = seatsOf(daemon, node);
  const pulse = new PulseCheck(daemon, node);
  for (let seats = first; seats.length > 0; seats = seatsOf(daemon, node)) {
    pulse.refuseAlive(seats);
    await pause(daemon, signal);
  }
  return first.map(evictedSeat);
}

/**
 * An operator vouches that `node` writes no more: it is evicted from every lockspace of this node at once, also where it
 * is being fenced. E_NODE_ALIVE if it still renews, which is looked for until it has been silent for half a lease.
 */
export async function evictVouched(daemon: Daemon, node: string, signal: AbortSignal): Promise<readonly Evicted[]> {
  const first = seatsOf(daemon, node);
  const pulse = new PulseCheck(daemon, node);
  let seats = first;
  while (seats.some((seat) => !isSilent(seat))) {
    await pause(daemon, signal);
    seats = seatsOf(daemon, node);
    pulse.refuseAlive(seats);
  }
  // The arrays first: of the daemons' own lockspace nothing that is written depends.
  const order = [...seats].sort((a, b) => Number(a.array === null) - Number(b.array === null));
  for (const seat of order) await seat.evict(seat.member);
  return first.map(evictedSeat);
}

const evictedSeat = ({ array, member }: Seat): Evicted => ({ array, slot: member.slot });

function seatsOf(daemon: Daemon, node: string): readonly Seat[] {
  const { lockspace } = daemon.membership;
  const own = lockspace === null ? [] : [{ array: null, of: lockspace, status: lockspace.status() }];
  const arrays = daemon.sessions.map(({ name, node: of }) => ({ array: name, of, status: of.lockspaceStatus() }));
  return [...own, ...arrays].flatMap(({ array, of, status }) =>
    status.members
      .filter((member) => member.node === node)
      .map((member): Seat => ({ array, member, status, evict: (victim) => of.evict(victim) })),
  );
}

/** When the lock service answered last, its counter had stood still for half a lease: at least two of its renewals. */
function isSilent({ member: { deadAt, fencing }, status: { leaseMs, renewedAt } }: Seat): boolean {
  if (fencing !== null) return true;
  return deadAt !== null && renewedAt - (deadAt - leaseMs) >= longestSilence({ leaseMs });
}

/**
 * Tells a node that renews from one that stopped just before somebody asked: its last renewal is seen with our next one.
 * What counts is a second one after that.
 */
class PulseCheck {
  readonly #daemon: Daemon;
  readonly #node: string;
  readonly #begun: number;
  /** When it was last seen, as of an answer to a renewal of ours that was sent after the beginning. */
  #base: number | null = null;

  constructor(daemon: Daemon, node: string) {
    this.#daemon = daemon;
    this.#node = node;
    this.#begun = daemon.env.clock.now();
  }

  /** E_NODE_ALIVE. */
  refuseAlive(seats: readonly Seat[]): void {
    if (!seats.every(({ status }) => status.renewedAt >= this.#begun)) return;
    const seen = Math.max(...seats.map(({ member }) => member.seenAt ?? Number.NEGATIVE_INFINITY));
    this.#base ??= seen;
    if (seen <= this.#base) return;
    const seconds = ((this.#daemon.env.clock.now() - seen) / 1000).toFixed(1);
    throw new MdError("E_NODE_ALIVE", `${this.#node} is alive: it renewed its lease ${seconds} s ago`, {
      why: "a node that may still write cannot be evicted; stop it, or cut it off, first",
      hint: "mdctl node list",
    });
  }
}

async function pause(daemon: Daemon, signal: AbortSignal): Promise<void> {
  // A lockspace that is being rebuilt takes evictions, and may be waiting for this one; a silent server takes none.
  const frozen = daemon.lockService.lostAt === null ? null : daemon.frozen();
  if (frozen !== null) throw lockServiceLost(frozen);
  if (signal.aborted) throw new MdError("E_CANCELLED", "the eviction was given up");
  await sleep(daemon.env.clock, POLL_MS, signal);
}
