/** What we use of redlock 4.2.0, which has no types of its own. */
declare module "redlock" {
  export interface RedlockServer {
    /** args: number of keys, keys, arguments. */
    evalsha(hash: string, args: readonly (string | number)[], callback: RedlockCallback): void;
    /** args: script, number of keys, keys, arguments. */
    eval(args: readonly (string | number)[], callback: RedlockCallback): void;
  }

  export type RedlockCallback = (error: Error | null, result?: unknown) => void;

  export interface RedlockLock {
    /** Calls `unlock` of the Redlock that it is of. */
    unlock(): PromiseLike<void>;
  }

  export default class Redlock {
    constructor(
      servers: readonly RedlockServer[],
      options: { readonly retryCount: number; readonly retryDelay: number; readonly retryJitter: number },
    );
    on(event: "clientError", listener: (error: unknown) => void): this;
    lock(resource: string, ttlMs: number): PromiseLike<RedlockLock>;
    unlock(lock: RedlockLock, done?: () => void): PromiseLike<void>;
  }
}
