import { MdError } from "../base/md-error.ts";
import { runLockServer } from "../dlm/socket/lock-server.ts";
import {
  type NetAddress,
  netAddressText,
  type OptionalTlsFiles,
  readNetAddress,
} from "../dlm/socket/socket-address.ts";
import { realClock, realEnv } from "../env/real-env.ts";
import { createLogger } from "./pino-logger.ts";

export interface LockdOptions {
  readonly socketPath: string;
  /** Milliseconds without a client after which it ends; null: never. */
  readonly lingerMs: number | null;
  /** Where it serves other hosts besides, as `tls://HOST:PORT`; null: nowhere. */
  readonly listen: string | null;
  /** PEM files for TLS. */
  readonly files: OptionalTlsFiles;
}

/** The embedded lock server as a process; SIGHUP makes it read a renewed certificate. Resolves when it has ended; false: another one serves this socket already. */
export async function runLockd({ socketPath, lingerMs, ...net }: LockdOptions): Promise<boolean> {
  const listen = readListen(net);
  const log = createLogger({ level: "info", format: "auto", node: "lockd", clock: realClock });
  const env = realEnv(log);
  const server = await runLockServer({ socketPath, env, lingerMs, listen });
  if (server === null) return false;
  const where = server.listen === null ? "" : ` and ${netAddressText(server.listen)}`;
  log.info({ evt: "ready", port: server.listen?.port ?? null }, `lock server listens on ${socketPath}${where}`);
  process.on("SIGHUP", () => {
    try {
      server.renewCertificate();
      log.info({ evt: "lockd.renewed" }, "certificate read again");
    } catch (error) {
      if (!(error instanceof MdError)) throw error;
      log.error({ evt: "lockd.renewed", err: error }, `going on with the old certificate: ${error.message}`);
    }
  });
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

function readListen({ listen, files }: Pick<LockdOptions, "listen" | "files">): NetAddress | null {
  if (listen !== null) return readNetAddress("listen", listen, "", files);
  const [useless] = Object.entries(files).find(([, file]) => file !== null) ?? [];
  if (useless === undefined) return null;
  throw new MdError("E_USAGE", `--${useless} makes no sense without --listen`, { hint: "--listen=tls://HOST:PORT" });
}
