import { hostname } from "node:os";
import { dirname, join, resolve } from "node:path";
import { MdError } from "../base/md-error.ts";
import type { LeaseTimes } from "../dlm/lease.ts";
import { readTuning, type TunedArray } from "./array-tuning.ts";
import type { FileSetting, FileSettings } from "./config-file.ts";
import { DEFAULT_SOCKET } from "./control-client.ts";
import { type DaemonSettings, variableOf } from "./daemon-options.ts";
import { type FenceConfig, readFence } from "./fence-config.ts";
import { readLease } from "./lease-config.ts";
import { type LockServerAddress, readLockServer } from "./lock-server-config.ts";
import { parseDuration } from "./parse-duration.ts";

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
  /** KiB/s: so fast a resync goes on beside requests of clients. */
  readonly syncSpeedMin: number;
  /** Milliseconds; 0: never. */
  readonly ioTimeoutMs: number;
  readonly slowIoMs: number;
  /** KiB/s; 0: no limit. */
  readonly syncSpeedMax: number;
  /** What single arrays have instead. */
  readonly tuned: readonly TunedArray[];
  readonly logLevel: LogLevel;
  readonly logFormat: LogFormat;
}

type Environment = Readonly<Record<string, string | undefined>>;

const nothing: FileSettings = { settings: new Map(), sysfs: [], warnings: [] };

/** KiB/s, as built into md. */
const SPEED_MIN = 1000;
const SPEED_MAX = 200 * 1024;

/**
 * Command line first, then MDCTL_NODE, MDCTL_CLUSTER, MDCTL_LOCK_SERVER, MDCTL_SOCKET, MDCTL_FENCE, MDCTL_LOG, then
 * configuration files, then what is built in. E_VALUE names the setting, and file and line where it is from one;
 * E_PERMISSION for a file with secrets that others can read.
 */
export function readConfig(settings: DaemonSettings, env: Environment, files: FileSettings = nothing): DaemonConfig {
  /** Settings that count and are from a file. */
  const fromFile = new Map<string, FileSetting>();
  const value = (option: string): string | null => {
    const given = settings.get(option);
    if (typeof given === "string") return given;
    const inherited = env[variableOf.get(option) ?? ""] || null;
    const written = files.settings.get(option);
    if (inherited !== null || written === undefined) return inherited;
    fromFile.set(option, written);
    return written.text;
  };
  /** What is wrong with a value that is from a file says where it is. */
  const reading = <T>(options: readonly string[], read: () => T): T => {
    try {
      return read();
    } catch (error) {
      const option = options.find((name) => fromFile.has(name));
      if (!(error instanceof MdError) || option === undefined) throw error;
      const { code, message, why, hint } = error;
      const more = { ...(why === null ? {} : { why }), ...(hint === null ? {} : { hint }) };
      const details = { ...error.details, options: options.filter((name) => fromFile.has(name)) };
      throw new MdError(code, `${fromFile.get(option)?.at}: ${message}`, { ...more, details, cause: error });
    }
  };
  const file = (option: string): string | null => {
    const path = value(option);
    return path === null ? null : resolve(path);
  };
  const socketPath = resolve(value("socket") ?? DEFAULT_SOCKET);
  const node = reading(["node"], () => checkName("node", value("node") ?? shortHostname()));
  const stateDir = resolve(value("state-dir") ?? join(dirname(socketPath), node));
  return {
    node,
    cluster: reading(["cluster"], () => checkName("cluster", value("cluster") ?? "mdctl")),
    lockServer: reading(["lock-server"], () => {
      const text = value("lock-server");
      return readLockServer(
        {
          text,
          exposedBy: settings.has("lock-server")
            ? "on a command line"
            : fromFile.get("lock-server")?.exposed === true
              ? "in this file"
              : null,
          files: {
            password: file("lock-server-password-file"),
            ca: file("lock-server-ca"),
            cert: file("lock-server-cert"),
            key: file("lock-server-key"),
          },
        },
        socketPath,
      );
    }),
    socketPath,
    stateDir,
    lease: reading(["lease", "ping", "lost"], () =>
      readLease({ lease: value("lease"), ping: value("ping"), lost: value("lost") }),
    ),
    fence: reading(["fence"], () => readFence(value("fence"))),
    fileMembers: settings.has("file-members") || value("file-members") === "yes",
    ring: reading(["ring"], () => oneOf("ring", value("ring") ?? "auto", ["auto", "io_uring", "threads"])),
    syncSpeedMin: reading(["sync-speed-min"], () => readSpeed("sync-speed-min", value("sync-speed-min"), SPEED_MIN)),
    syncSpeedMax: reading(["sync-speed-max"], () => readSpeed("sync-speed-max", value("sync-speed-max"), SPEED_MAX)),
    tuned: files.sysfs.map(readTuning),
    ioTimeoutMs: reading(["io-timeout"], () => readTimeout("io-timeout", value("io-timeout") ?? "30s")),
    slowIoMs: reading(["slow-io"], () => readTimeout("slow-io", value("slow-io") ?? "2s")),
    logLevel: reading(["log-level"], () =>
      oneOf("log-level", value("log-level") ?? "info", [
        ...(["fatal", "error", "warn", "info", "debug", "trace"] as const),
      ]),
    ),
    logFormat: reading(["log-format"], () =>
      oneOf("log-format", value("log-format") ?? "auto", ["auto", "json", "pretty"]),
    ),
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

/** Shorter, and a burst of work would do what only a broken device should. */
const SHORTEST_TIMEOUT_MS = 100;

function readTimeout(option: string, text: string): number {
  const ms = parseDuration(option, text);
  if (ms === 0 || ms >= SHORTEST_TIMEOUT_MS) return ms;
  throw new MdError("E_VALUE", `${option}: ${ms} ms is less than ${SHORTEST_TIMEOUT_MS} ms`, { why: "0 means never" });
}

function readSpeed(option: string, text: string | null, builtIn: number): number {
  if (text === null) return builtIn;
  const match = /^(\d{1,9})([KMG]?)$/.exec(text);
  if (match === null) throw new MdError("E_VALUE", `${option}: "${text}" is not a size`);
  return Number(match[1]) * ({ "": 1, K: 1, M: 1024, G: 1024 ** 2 }[match[2] ?? ""] ?? 1);
}
