import { hostname } from "node:os";
import { dirname, join, resolve } from "node:path";
import { MdError } from "../base/md-error.ts";
import type { LeaseTimes } from "../dlm/lease.ts";
import { DEFAULT_SOCKET } from "./control-client.ts";
import type { DaemonSettings } from "./daemon-options.ts";
import { type FenceConfig, readFence } from "./fence-config.ts";
import { readLease } from "./lease-config.ts";
import { type LockServerAddress, readLockServer } from "./lock-server-config.ts";

export type LogLevel = "fatal" | "error" | "warn" | "info" | "debug" | "trace";
export type LogFormat = "auto" | "json" | "pretty";

export interface DaemonConfig {
  readonly node: string;
  readonly cluster: string;
  readonly lockServer: LockServerAddress;
  readonly socketPath: string;
  readonly stateDir: string;
  readonly lease: LeaseTimes;
  readonly fence: FenceConfig;
  readonly fileMembers: boolean;
  readonly ring: "auto" | "io_uring" | "threads";
  /** KiB/s; 0: no limit. */
  readonly syncSpeedMax: number;
  readonly logLevel: LogLevel;
  readonly logFormat: LogFormat;
}

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Command line first, then MDCTL_NODE, MDCTL_CLUSTER, MDCTL_LOCK_SERVER, MDCTL_SOCKET, MDCTL_FENCE, MDCTL_LOG, then
 * what is built in. E_VALUE names the setting; E_PERMISSION for a file with secrets that others can read.
 */
export function readConfig(settings: DaemonSettings, env: Environment): DaemonConfig {
  const value = (option: string, variable?: string): string | null => {
    const given = settings.get(option);
    return typeof given === "string" ? given : (variable && env[variable]) || null;
  };
  const file = (option: string, variable: string): string | null => {
    const path = value(option, variable);
    return path === null ? null : resolve(path);
  };
  const socketPath = resolve(value("socket", "MDCTL_SOCKET") ?? DEFAULT_SOCKET);
  const node = checkName("node", value("node", "MDCTL_NODE") ?? shortHostname());
  const stateDir = resolve(value("state-dir") ?? join(dirname(socketPath), node));
  return {
    node,
    cluster: checkName("cluster", value("cluster", "MDCTL_CLUSTER") ?? "mdctl"),
    lockServer: readLockServer(
      {
        text: value("lock-server", "MDCTL_LOCK_SERVER"),
        onCommandLine: settings.has("lock-server"),
        files: {
          password: file("lock-server-password-file", "MDCTL_LOCK_SERVER_PASSWORD_FILE"),
          ca: file("lock-server-ca", "MDCTL_LOCK_SERVER_CA"),
          cert: file("lock-server-cert", "MDCTL_LOCK_SERVER_CERT"),
          key: file("lock-server-key", "MDCTL_LOCK_SERVER_KEY"),
        },
      },
      socketPath,
    ),
    socketPath,
    stateDir,
    lease: readLease({ lease: value("lease"), ping: value("ping"), lost: value("lost") }),
    fence: readFence(value("fence", "MDCTL_FENCE")),
    fileMembers: settings.has("file-members"),
    ring: oneOf("ring", value("ring") ?? "auto", ["auto", "io_uring", "threads"]),
    syncSpeedMax: readSpeed(value("sync-speed-max")),
    logLevel: oneOf("log-level", value("log-level", "MDCTL_LOG") ?? "info", [
      ...(["fatal", "error", "warn", "info", "debug", "trace"] as const),
    ]),
    logFormat: oneOf("log-format", value("log-format") ?? "auto", ["auto", "json", "pretty"]),
  };
}

const shortHostname = (): string => hostname().split(".")[0] || "localhost";

/** Names go into lock servers, superblocks, file names and logs: plain ones only. */
export function checkName(what: string, name: string): string {
  if (/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/.test(name)) return name;
  throw new MdError("E_VALUE", `${what} name ${JSON.stringify(name.slice(0, 80))} is not usable`, {
    why: "it takes 1 to 63 letters, digits, dots, underscores and dashes, and begins with a letter or digit",
  });
}

function oneOf<T extends string>(option: string, text: string, words: readonly T[]): T {
  const found = words.find((word) => word === text);
  if (found !== undefined) return found;
  throw new MdError("E_VALUE", `${option}: "${text}" is none of ${words.join(", ")}`);
}

function readSpeed(text: string | null): number {
  if (text === null) return 0;
  const match = /^(\d{1,9})([KMG]?)$/.exec(text);
  if (match === null) throw new MdError("E_VALUE", `sync-speed-max: "${text}" is not a size`);
  return Number(match[1]) * ({ "": 1, K: 1, M: 1024, G: 1024 ** 2 }[match[2] ?? ""] ?? 1);
}
