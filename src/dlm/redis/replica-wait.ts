import type { RedisLink } from "./redis-link.ts";

/** Shorter than what the callers of the shortest lease wait for an answer, twice. */
export const WAIT_MS = 300;

export interface Confirmed {
  readonly reply: unknown;
  /** How many replicas have it. */
  readonly replicas: unknown;
}

interface Waiting {
  readonly send: () => Promise<unknown>;
  readonly resolve: (confirmed: Confirmed) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Calls that count only when replicas have them, over one connection, which WAIT holds up. All that are asked for meanwhile
 * share the next WAIT: where replicas are slow a call waits for two of them, however many lockspaces renew.
 */
export class ReplicaWait {
  readonly #link: RedisLink;
  readonly #wanted: number;
  #waiting: Waiting[] = [];
  #running = false;

  constructor(link: RedisLink, wanted: number) {
    this.#link = link;
    this.#wanted = wanted;
  }

  /** `send` makes the call, over the same link. Rejects as it does, or as WAIT does. */
  run(send: () => Promise<unknown>): Promise<Confirmed> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ send, resolve, reject });
      if (!this.#running) void this.#next();
    });
  }

  async #next(): Promise<void> {
    this.#running = true;
    while (this.#waiting.length > 0) {
      const calls = this.#waiting;
      this.#waiting = [];
      const replies = calls.map(({ send }) => send());
      const replicas = this.#link.send("WAIT", this.#wanted, WAIT_MS);
      calls.forEach(({ resolve, reject }, at) => {
        Promise.all([replies[at], replicas]).then(([reply, count]) => resolve({ reply, replicas: count }), reject);
      });
      await replicas.catch(() => {}); // told to everyone above
    }
    this.#running = false;
  }
}
