import Redlock, { type RedlockLock, type RedlockServer } from "redlock";
import type { Env } from "../../env/env.ts";
import { withTimeout } from "../with-timeout.ts";
import type { CriticalSection } from "./critical-section.ts";
import { serverFault } from "./redis-faults.ts";
import type { RedisLink } from "./redis-link.ts";

/** Longer than any call takes that is made inside: it is never extended. */
const TTL_MS = 6000;
/** Who does not get in within this goes on without: a lease may be running out meanwhile. */
const PATIENCE_MS = 500;

/**
 * redlock 4.2.0 takes back what it got in an attempt that failed, and leaves the rejection of that unhandled where no
 * majority answers, which would end the process. Where giving back fails, the lock ends by itself.
 */
class QuietRedlock extends Redlock {
  override unlock(lock: RedlockLock, done: () => void = () => {}): Promise<void> {
    return Promise.resolve(super.unlock(lock)).then(done, done);
  }
}

/**
 * The section as a Redlock on several independent servers. redlock 4.2.0 waits for all of them in each attempt: the
 * links refuse at once what they cannot send, and PATIENCE_MS bounds the rest. Times are set here, in the constructor;
 * those of a single call are not always respected by it.
 */
export class RedlockSection implements CriticalSection {
  readonly #env: Env;
  readonly #redlock: QuietRedlock;
  #warned = false;

  constructor(links: readonly RedisLink[], env: Env) {
    this.#env = env;
    this.#redlock = new QuietRedlock(links.map(serverOf), { retryCount: 3, retryDelay: 80, retryJitter: 40 });
    this.#redlock.on("clientError", (error) => this.#refused(error));
  }

  /** The links tell of lost connections; rights that are missing only show here, and would stay unnoticed. */
  #refused(error: unknown): void {
    if (this.#warned || serverFault("", error).code !== "E_PERMISSION") return;
    this.#warned = true;
    const why = error instanceof Error ? error.message : String(error);
    this.#env.log.warn(
      { evt: "dlm.section", why },
      "no critical section: the rights for it are missing (docs/redis.md)",
    );
  }

  async run<T>(name: string, work: () => Promise<T>): Promise<T> {
    const lock = await this.#acquire(name);
    try {
      return await work();
    } finally {
      if (lock !== null) void lock.unlock();
    }
  }

  /** Null: not had, within bounds. */
  async #acquire(name: string): Promise<RedlockLock | null> {
    try {
      const asked = Promise.resolve(this.#redlock.lock(`mdlm:{${name}}:section`, TTL_MS));
      const lock = await withTimeout(this.#env.clock, PATIENCE_MS, asked, (late) => void late.unlock());
      if (lock !== null) return lock;
    } catch {
      // No majority answered, or another node is inside: which of the two, redlock does not say.
    }
    this.#env.log.debug({ evt: "dlm.section", lockspace: name }, "going on without the critical section");
    return null;
  }
}

const serverOf = (link: RedisLink): RedlockServer => ({
  evalsha: (hash, args, callback) => answer(link.send("EVALSHA", hash, ...args), callback),
  eval: (args, callback) => answer(link.send("EVAL", ...args), callback),
});

/** redlock looks for NOSCRIPT in the server's own words. */
function answer(sent: Promise<unknown>, callback: (error: Error | null, result?: unknown) => void): void {
  sent.then(
    (result) => callback(null, result),
    (error: unknown) => {
      const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
      callback(cause instanceof Error ? cause : new Error(String(cause)));
    },
  );
}
