import { MdError } from "../../base/md-error.ts";
import type { Env } from "../../env/env.ts";
import type { LockCall, LockspaceId } from "../lock-call.ts";
import { locateMaster } from "./locate-master.ts";
import { RedisLink } from "./redis-link.ts";
import type { RedisPlace } from "./redis-url.ts";
import { RedlockSection } from "./redlock-section.ts";
import { type Arbiter, confirmTableHome } from "./table-home.ts";

/** Shorter than COMMAND_MS: one that hangs must not hold up who joins. */
const ARBITER_MS = 400;

/** Calls that a slot, a death or the life of a lockspace hangs on. Not `recover`: it is idempotent, and leases run. */
const guarded: ReadonlySet<LockCall["op"]> = new Set(["format", "join", "evict", "fence_begin"]);
/** Calls by which a node begins to use the table. */
const begins: ReadonlySet<LockCall["op"]> = new Set(["format", "join"]);

/** What several servers do together for a cluster whose lock tables are all on the first. */
export interface MembershipGuard {
  /** Does `work`, if need be after the majority was asked, and inside the critical section. */
  enter<T>(lockspace: LockspaceId, op: LockCall["op"], work: () => Promise<T>): Promise<T>;
  /** Resolves when each server was tried once. */
  open(): Promise<void>;
  close(): void;
}

/** Null: there is one server, and nothing to agree upon. E_VALUE: a number of servers that has no use. */
export function connectArbiters(places: readonly RedisPlace[], node: string, env: Env): MembershipGuard | null {
  if (places.length === 1) return null;
  if (places.length !== 3 && places.length !== 5) {
    throw new MdError("E_VALUE", `${places.length} lock servers are no use: give one, three or five`, {
      why: "a majority of an even number survives no more losses than that of one less",
    });
  }
  const [home] = places;
  const twice = places.find(({ about }, at) => places.findIndex((other) => other.about === about) !== at);
  if (twice !== undefined) throw new MdError("E_VALUE", `lock server ${twice.about} is given twice`);
  const clustered = places.find(({ topology }) => topology.type === "cluster");
  if (clustered !== undefined) {
    throw new MdError("E_VALUE", `${clustered.about}: a Redis Cluster is one lock server, not one of several`);
  }
  const arbiters = places.map((place): Arbiter => {
    const link = new RedisLink({
      about: place.about,
      name: `mdlm/${node}/arb`,
      env,
      commandMs: ARBITER_MS,
      cluster: false,
      locate: () => locateMaster(place, null),
    });
    return { about: place.about, link };
  });
  return new Arbiters(home?.about ?? "", arbiters, env);
}

class Arbiters implements MembershipGuard {
  readonly #home: string;
  readonly #arbiters: readonly Arbiter[];
  readonly #section: RedlockSection;

  constructor(home: string, arbiters: readonly Arbiter[], env: Env) {
    this.#home = home;
    this.#arbiters = arbiters;
    const links = arbiters.map(({ link }) => link);
    this.#section = new RedlockSection(links, env);
  }

  async enter<T>(lockspace: LockspaceId, op: LockCall["op"], work: () => Promise<T>): Promise<T> {
    const { cluster, name } = lockspace;
    if (begins.has(op)) await confirmTableHome(cluster, this.#home, this.#arbiters);
    return guarded.has(op) ? this.#section.run(`${cluster}/${name}`, work) : work();
  }

  async open(): Promise<void> {
    await Promise.all(this.#arbiters.map(({ link }) => link.start()));
  }

  close(): void {
    for (const { link } of this.#arbiters) link.close();
  }
}
