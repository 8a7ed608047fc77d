import { AssertionError } from "../base/assert.ts";
import { MdError } from "../base/md-error.ts";
import { realClock, realEnv } from "../env/real-env.ts";
import { type DaemonConfig, readConfig } from "./config.ts";
import { readConfigFiles } from "./config-files.ts";
import { ControlServer } from "./control-server.ts";
import { Daemon } from "./daemon.ts";
import type { DaemonSettings } from "./daemon-options.ts";
import { createLogger } from "./pino-logger.ts";
import { recoverDisks } from "./recover-disks.ts";
import { refuseSecondDaemon } from "./socket-file.ts";
import { TraceTap } from "./trace-tap.ts";

const EXIT_BUG = 70;

/**
 * Runs a node until SIGTERM or SIGINT (arrays are then stopped in order). Rejects with an MdError when it cannot
 * start; what goes wrong later and is not expected ends the process at once: the lease runs out, and another node
 * takes over.
 */
export async function runDaemon(settings: DaemonSettings, environment: NodeJS.ProcessEnv): Promise<void> {
  const configFile = settings.get("config");
  const files = readConfigFiles(typeof configFile === "string" ? configFile : (environment["MDCTL_CONFIG"] ?? null));
  const config = readConfig(settings, environment, files);
  const { node, logLevel: level, logFormat: format } = config;
  const tap = new TraceTap();
  const log = createLogger({ level, format, node, clock: realClock, tap });
  const env = realEnv(log);
  for (const warning of files.warnings) log.warn({ evt: "config" }, warning);
  const die = (reason: string): never => {
    log.error({ evt: "died" }, reason);
    process.exit(EXIT_BUG);
  };
  process.on("uncaughtException", (error) => die(`uncaught: ${error.stack ?? error.message}`));
  process.on("unhandledRejection", (reason) =>
    die(`unhandled: ${reason instanceof Error ? reason.stack : String(reason)}`),
  );

  // Before anything is joined: a second daemon on this socket must not take the first one's place in the cluster.
  await refuseSecondDaemon(config.socketPath);
  const daemon = await Daemon.start(config, env, tap, die);
  const server = await serve(daemon, config);
  daemon.tell(
    "info",
    "READY",
    null,
    `node ${config.node} of cluster ${config.cluster} listens on ${config.socketPath}`,
  );
  void recoverDisks(daemon);
  const signal = await terminated();
  log.info({ evt: "stopping", signal }, `${signal}: stopping`);
  server.close();
  await daemon.stop();
  log.info({ evt: "stopped" }, "stopped");
}

async function serve(daemon: Daemon, { socketPath }: DaemonConfig): Promise<ControlServer> {
  try {
    return await ControlServer.start(daemon, socketPath);
  } catch (error) {
    await daemon.stop();
    throw error;
  }
}

const terminated = (): Promise<string> =>
  new Promise((resolve) => {
    for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => resolve(signal));
  });

/** Ends the process with what people need to know. */
export function exitWith(error: unknown, program: string, exitStatus: (code: MdError["code"]) => number): never {
  if (!(error instanceof MdError)) {
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
    process.stderr.write(
      `${program}: ${error instanceof AssertionError ? "contradiction" : "internal error"}: ${text}\n`,
    );
    process.exit(EXIT_BUG);
  }
  const lines = [`${program}: ${error.message}`];
  if (error.why !== null) lines.push(`  why: ${error.why}`);
  if (error.hint !== null) lines.push(`  try: ${error.hint}`);
  process.stderr.write(`${lines.join("\n")}\n`);
  process.exit(exitStatus(error.code));
}
