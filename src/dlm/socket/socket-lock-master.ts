import type { Env } from "../../env/env.ts";
import type { LockMaster } from "../lock-master.ts";

export interface SocketLockMasterOptions {
  readonly socketPath: string;
  readonly env: Env;
}

/** Connects to the embedded lock server; rejects with E_LOCK_SERVICE_LOST if none listens. Reconnects by itself later. */
export function connectSocketMaster(_options: SocketLockMasterOptions): Promise<LockMaster> {
  return Promise.reject(new Error("not yet"));
}
