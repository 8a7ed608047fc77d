import { spawn } from "node:child_process";
import { closeSync, mkdirSync, openSync } from "node:fs";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { MdError } from "../base/md-error.ts";
import type { LockMaster } from "../dlm/lock-master.ts";
import { recordedListen } from "../dlm/socket/listen-record.ts";
import { type NetAddress, netAddressText } from "../dlm/socket/socket-address.ts";
import { connectSocketMaster } from "../dlm/socket/socket-lock-master.ts";
import { sleep } from "../env/clock.ts";
import type { Env } from "../env/env.ts";
import type { LockServerAddress } from "./lock-server-config.ts";

/** How long after its last client a lock server that a daemon started goes on. */
const LINGER = "60s";
const START_MS = 20_000;
const PROBE_MS = 25;
/** How long a lock server may be away before another one is started, and how often that is tried. */
const RESTART_MS = 2000;

/**
 * The daemon's one connection to the lock service. An embedded lock server that nobody has started yet is started here
 * as a process of its own: it must outlive this one. E_LOCK_SERVICE_LOST when there is none and none can be started.
 */
export async function connectLockService(address: LockServerAddress, node: string, env: Env): Promise<LockMaster> {
  if (address.type === "redis") {
    const { connectRedisMaster } = await import("../dlm/redis/redis-lock-master.ts");
    const [url = "", ...others] = address.urls;
    return connectRedisMaster({ url, others, files: address.files, node, env });
  }
  if (address.type === "net") return connectSocketMaster({ server: address.server, env });
  const { path: socketPath } = address;
  try {
    return await connectSocketMaster({ socketPath, env });
  } catch (error) {
    if (!(error instanceof MdError) || error.code !== "E_LOCK_SERVICE_LOST") throw error;
  }
  env.log.info({ evt: "lockd_start" }, `no lock server listens on ${socketPath}: starting one`);
  startLockServer(socketPath);
  return connectWhenUp(socketPath, env);
}

/**
 * Starts the embedded lock server of this host again when it is gone. What it knew is gone with it: its former members
 * tell the new one. Ends with `signal`.
 */
export function keepLockServer(address: LockServerAddress, master: LockMaster, env: Env, signal: AbortSignal): void {
  if (address.type !== "socket") return;
  let reachable = true;
  const restart = (): void => {
    if (reachable || signal.aborted) return;
    env.log.warn({ evt: "lockd_start" }, `no lock server answers on ${address.path}: starting one`);
    startLockServer(address.path);
    env.clock.after(RESTART_MS, restart);
  };
  master.onReachable((now) => {
    if (reachable && !now) env.clock.after(RESTART_MS, restart);
    reachable = now;
  });
}

const program = fileURLToPath(new URL("../../bin/mdctl.mjs", import.meta.url));

function startLockServer(socketPath: string): void {
  mkdirSync(dirname(socketPath), { recursive: true, mode: 0o755 });
  const log = openSync(`${socketPath}.log`, "a", 0o600);
  try {
    const listen = recordedListen(socketPath);
    const rest = listen === null ? [`--linger=${LINGER}`] : listenOptions(listen);
    const args = [program, "lockd", `--socket=${socketPath}`, ...rest];
    const child = spawn(process.execPath, args, { detached: true, stdio: ["ignore", log, log] });
    child.unref();
  } finally {
    closeSync(log);
  }
}

/** As the one that died was told: other hosts look for it there. */
const listenOptions = (listen: NetAddress): readonly string[] => [
  `--listen=${netAddressText(listen)}`,
  ...Object.entries(listen.tls ?? {}).map(([name, path]) => `--${name}=${path}`),
];

/** Somebody else's lock server will do as well: two daemons may start at once, and one of the two servers gives way. */
async function connectWhenUp(socketPath: string, env: Env): Promise<LockMaster> {
  const deadline = env.clock.now() + START_MS;
  for (;;) {
    try {
      return await connectSocketMaster({ socketPath, env });
    } catch (error) {
      if (!(error instanceof MdError) || error.code !== "E_LOCK_SERVICE_LOST") throw error;
      if (env.clock.now() >= deadline) {
        throw new MdError("E_LOCK_SERVICE_LOST", `no lock server answers on ${socketPath}`, {
          why: `one was started and did not come up within ${START_MS / 1000} s; its log is ${socketPath}.log`,
          cause: error,
        });
      }
      await sleep(env.clock, PROBE_MS);
    }
  }
}
