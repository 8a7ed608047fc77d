import type { NbdConnection } from "./nbd-connection.ts";
import type { NbdRequests } from "./nbd-requests.ts";

type Client = Pick<NbdConnection, "starvedSince" | "stuckSince" | "giveBackData" | "close">;

/** Milliseconds that a connection waits for room before those that do not fetch their data have to give it back. */
const GIVE_BACK_MS = 1000;
/** Milliseconds without a byte taken, or sent of what was begun, after which a client that keeps others waiting is dropped. */
const DROP_MS = 30_000;

/**
 * Clients that do not fetch what they asked for. They may take their time, until another client waits for the memory: then
 * what they have not begun to fetch is thrown away, and read again when they go on. What is left to each is one reply on
 * its way, or one payload that it has announced: a client that has one of those and does not move is dropped if another
 * waits all the while.
 */
export class SlowClients {
  readonly #connections: readonly Client[];
  readonly #requests: Pick<NbdRequests, "crowded">;
  readonly #now: () => number;
  /** Milliseconds: when to look. */
  #lookAt = Number.POSITIVE_INFINITY;

  constructor(connections: readonly Client[], requests: Pick<NbdRequests, "crowded">, now: () => number) {
    this.#connections = connections;
    this.#requests = requests;
    this.#now = now;
  }

  /** After each turn: is it time that somebody makes room? */
  due(): boolean {
    if (!this.#requests.crowded) return false;
    const since = this.#starvedSince();
    if (since === Number.POSITIVE_INFINITY) {
      this.#requests.crowded = false;
      this.#lookAt = since;
      return false;
    }
    const now = this.#now();
    const first = since + GIVE_BACK_MS;
    if (this.#lookAt === Number.POSITIVE_INFINITY) this.#lookAt = Math.max(now, first);
    return now >= first && now >= this.#lookAt;
  }

  /** `closed`: the connection in this place was dropped. */
  makeRoom(closed: (index: number) => void): void {
    const now = this.#now();
    const mayDrop = now - this.#starvedSince() >= DROP_MS;
    for (const [index, connection] of this.#connections.entries()) {
      const stuck = now - connection.stuckSince;
      if (stuck >= GIVE_BACK_MS) connection.giveBackData();
      if (!mayDrop || stuck < DROP_MS) continue;
      connection.close();
      closed(index);
    }
    this.#lookAt = now + GIVE_BACK_MS;
  }

  /** Milliseconds. */
  wantsTurnIn(): number {
    return this.#lookAt === Number.POSITIVE_INFINITY ? this.#lookAt : Math.max(0, this.#lookAt - this.#now());
  }

  /** The longest wait. */
  #starvedSince(): number {
    let since = Number.POSITIVE_INFINITY;
    for (const { starvedSince } of this.#connections) since = Math.min(since, starvedSince);
    return since;
  }
}
