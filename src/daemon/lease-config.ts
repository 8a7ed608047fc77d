import { MdError } from "../base/md-error.ts";
import { defaultLease, type LeaseTimes } from "../dlm/lease.ts";
import { parseDuration } from "./parse-duration.ts";

const SHORTEST_PING_MS = 100;
const LONGEST_PING_MS = 10_000;
/** Fewer would let one lost ping stop the writes: they end after six tenths of a lease. */
const FEWEST_LOST = 5;
const MOST_LOST = 100;
const USUAL_LOST = 10;
/**
 * Of a lease, between two pings, where only the lease is given. Of two nodes the other one sees the last ping half of it
 * later: a death is found within a lease of 10 s and half a second, and an idle node still sleeps most of the time.
 */
const PING_SHARE = 0.08;

/**
 * How often a node says that it lives, and for how long it may be silent. `lease` is `ping` times `lost`: any two of them
 * say the third; ping or lost alone go with ten pings a lease, a lease alone with a ping after 8 % of it. Throws E_VALUE.
 */
export function readLease(given: {
  readonly lease: string | null;
  readonly ping: string | null;
  readonly lost: string | null;
}): LeaseTimes {
  const lease = given.lease === null ? null : parseDuration("lease", given.lease);
  const ping = given.ping === null ? null : parseDuration("ping", given.ping);
  const lost = given.lost === null ? null : parseCount(given.lost);
  const leaseMs = lease ?? leaseOf(ping, lost);
  const pingMs = ping ?? (lost === null ? usualPing(leaseMs) : leaseMs / lost);
  const count = leaseMs / pingMs;
  if (lost !== null && lost !== count) {
    const why = `${lost} pings of ${pingMs} ms are ${lost * pingMs} ms`;
    throw new MdError("E_VALUE", `lease: ${leaseMs} ms is not what ping and lost say`, { why });
  }
  if (pingMs < SHORTEST_PING_MS || pingMs > LONGEST_PING_MS) {
    throw new MdError("E_VALUE", `ping: ${pingMs} ms is not between ${SHORTEST_PING_MS} ms and ${LONGEST_PING_MS} ms`);
  }
  if (count < FEWEST_LOST || count > MOST_LOST) {
    const why = `a lease of ${leaseMs} ms is ${count} pings of ${pingMs} ms`;
    throw new MdError("E_VALUE", `lost: it takes ${FEWEST_LOST} to ${MOST_LOST} pings to take a node for dead`, {
      why,
    });
  }
  return { leaseMs, pingMs };
}

/** A lease of less than ten of the shortest pings is too short: then it is the ping that is refused. */
const usualPing = (leaseMs: number): number =>
  Math.min(Math.max(leaseMs * PING_SHARE, Math.min(leaseMs / USUAL_LOST, SHORTEST_PING_MS)), LONGEST_PING_MS);

const leaseOf = (ping: number | null, lost: number | null): number =>
  ping === null && lost === null
    ? defaultLease.leaseMs
    : (ping ?? defaultLease.leaseMs / USUAL_LOST) * (lost ?? USUAL_LOST);

function parseCount(text: string): number {
  if (/^\d{1,3}$/.test(text)) return Number(text);
  throw new MdError("E_VALUE", `lost: "${text}" is not a number of pings`);
}
