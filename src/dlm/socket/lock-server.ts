import type { Env } from "../../env/env.ts";

export interface LockServerOptions {
  /** Unix socket, mode 0600. The directory must exist. */
  readonly socketPath: string;
  readonly env: Env;
}

export interface LockServer {
  readonly socketPath: string;
  /** Resolves when the server has ended, by `close` or because its socket was taken away. */
  readonly ended: Promise<void>;
  close(): Promise<void>;
}

/**
 * The embedded lock server of one host (`mdctl lockd`). Resolves once it listens; null if another one serves this
 * socket already (that one is to be used).
 */
export function runLockServer(_options: LockServerOptions): Promise<LockServer | null> {
  return Promise.reject(new Error("not yet"));
}
