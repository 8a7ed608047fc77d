import { MdError } from "../base/md-error.ts";
import { runLockServer } from "../dlm/socket/lock-server.ts";
import { realClock, realEnv } from "../env/real-env.ts";
import { createLogger } from "./pino-logger.ts";

export interface LockdOptions {
  readonly socketPath: string;
  /** Milliseconds without a client after which it ends; null: never. */
  readonly lingerMs: number | null;
}

/** The embedded lock server as a process. Resolves when it has ended; false: another one serves this socket already. */
export async function runLockd({ socketPath, lingerMs }: LockdOptions): Promise<boolean> {
  const log = createLogger({ level: "info", format: "auto", node: "lockd", clock: realClock });
  const env = realEnv(log);
  const server = await runLockServer({ socketPath, env, lingerMs });
  if (server === null) return false;
  log.info({ evt: "ready" }, `lock server listens on ${socketPath}`);
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    process.once(signal, () => {
      server.close().catch((error: unknown) => {
        throw new MdError("E_IO", "the lock server could not be closed", { cause: error });
      });
    });
  }
  await server.ended;
  return true;
}
