import type { Env } from "../../env/env.ts";
import type { LockMaster } from "../lock-master.ts";

export interface RedisLockMasterOptions {
  /** redis://[user:password@]host:port[/db], rediss:// for TLS, or unix:///path. */
  readonly url: string;
  /** Connection names in CLIENT LIST. */
  readonly node: string;
  readonly env: Env;
}

/**
 * Connects and loads the function library if it is not there. Rejects with E_LOCK_SERVICE_LOST if nothing answers,
 * with E_PROTOCOL_VERSION or E_VALUE if this Redis must not be used (older than 7.0, a replica, a maxmemory-policy
 * that evicts). Reconnects by itself later.
 */
export function connectRedisMaster(_options: RedisLockMasterOptions): Promise<LockMaster> {
  return Promise.reject(new Error("not yet"));
}
