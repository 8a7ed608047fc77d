import { MdError } from "../base/md-error.ts";
import { longestSilence } from "../dlm/lease.ts";
import type { LockspaceMember } from "../dlm/lockspace.ts";
import type { LockspaceStatus, MemberStatus } from "../dlm/lockspace-status.ts";
import { type Clock, sleep } from "../env/clock.ts";
import type { FrozenInfo } from "./control-api.ts";
import { lockServiceLost } from "./lock-service-lost.ts";

const POLL_MS = 50;

/** A lockspace of ours; `array` is null for the daemons' own. */
export interface EvictionSpace {
  readonly array: string | null;
  readonly status: LockspaceStatus;
  evict(member: LockspaceMember): Promise<void>;
}

/** What an eviction sees of the daemon. */
export interface EvictionWorld {
  readonly clock: Clock;
  spaces(): readonly EvictionSpace[];
  /** Null while the lock service answers. */
  lost(): FrozenInfo | null;
}

/** A node's place in one of them. */
interface Seat extends EvictionSpace {
  readonly member: MemberStatus;
}

export interface Evicted {
  readonly array: string | null;
  readonly slot: number;
}

/**
 * Waits until `node` is no member of any lockspace of this node: its lease has surely expired, or whoever fences it has
 * succeeded. E_NODE_ALIVE when it renews, E_LOCK_SERVICE_LOST, E_CANCELLED by `signal`.
 */
export async function awaitEviction(
  world: EvictionWorld,
  node: string,
  signal: AbortSignal,
): Promise<readonly Evicted[]> {
  const first = seatsOf(world, node);
  const pulse = new PulseCheck(world.clock, node);
  for (let seats = first; seats.length > 0; seats = seatsOf(world, node)) {
    pulse.refuseAlive(seats);
    await pause(world, signal);
  }
  return first.map(evictedSeat);
}

/**
 * An operator vouches that `node` writes no more: it is evicted from every lockspace of this node at once, also where it
 * is being fenced. E_NODE_ALIVE if it still renews, which is looked for until it has been silent for half a lease.
 */
export async function evictVouched(
  world: EvictionWorld,
  node: string,
  signal: AbortSignal,
): Promise<readonly Evicted[]> {
  const first = seatsOf(world, node);
  const pulse = new PulseCheck(world.clock, node);
  let seats = first;
  while (!areSilent(seats)) {
    await pause(world, signal);
    seats = seatsOf(world, node);
    pulse.refuseAlive(seats);
  }
  // The arrays first: of the daemons' own lockspace nothing that is written depends.
  const order = [...seats].sort((a, b) => Number(a.array === null) - Number(b.array === null));
  for (const seat of order) await seat.evict(seat.member);
  return first.map(evictedSeat);
}

const evictedSeat = ({ array, member }: Seat): Evicted => ({ array, slot: member.slot });

const seatsOf = (world: EvictionWorld, node: string): readonly Seat[] =>
  world
    .spaces()
    .flatMap((space) =>
      space.status.members.filter((member) => member.node === node).map((member) => ({ ...space, member })),
    );

/** Under the daemons' own lockspace nothing is written, and it is renewed at leisure: an array tells sooner, and enough. */
function areSilent(seats: readonly Seat[]): boolean {
  const arrays = seats.filter(({ array }) => array !== null);
  return (arrays.length > 0 ? arrays : seats).every(isSilent);
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
  readonly #clock: Clock;
  readonly #node: string;
  readonly #begun: number;
  /** By lockspace: when it was last seen, as of an answer to a renewal of ours that was sent after the beginning. */
  readonly #bases = new Map<string | null, number>();

  constructor(clock: Clock, node: string) {
    this.#clock = clock;
    this.#node = node;
    this.#begun = clock.now();
  }

  /** E_NODE_ALIVE. */
  refuseAlive(seats: readonly Seat[]): void {
    for (const { array, member, status } of seats) {
      if (status.renewedAt < this.#begun) continue;
      const seen = member.seenAt ?? Number.NEGATIVE_INFINITY;
      const base = this.#bases.get(array) ?? seen;
      this.#bases.set(array, base);
      if (seen > base) throw this.#alive(seen);
    }
  }

  #alive(seen: number): MdError {
    const seconds = ((this.#clock.now() - seen) / 1000).toFixed(1);
    return new MdError("E_NODE_ALIVE", `${this.#node} is alive: it renewed its lease ${seconds} s ago`, {
      why: "a node that may still write cannot be evicted; stop it, or cut it off, first",
      hint: "mdctl node list",
    });
  }
}

async function pause({ clock, lost }: EvictionWorld, signal: AbortSignal): Promise<void> {
  // A lockspace that is being rebuilt takes evictions, and may be waiting for this one; a silent server takes none.
  const frozen = lost();
  if (frozen !== null) throw lockServiceLost(frozen);
  if (signal.aborted) throw new MdError("E_CANCELLED", "the eviction was given up");
  await sleep(clock, POLL_MS, signal);
}
