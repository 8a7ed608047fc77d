import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import type { ProcessIdentity } from "./process-identity.ts";

const read = (path: string): string => readFileSync(path, "utf8").trim();

/** Of this installation, for ever; empty where there is none. */
function machineId(): string {
  try {
    return read("/etc/machine-id");
  } catch {
    return "";
  }
}

let host: string | null = null;

/** Pids mean the same only in one boot of one kernel and in one pid namespace. Of a process it is always the same. */
function ownHost(): string {
  host ??= `${machineId()}/${read("/proc/sys/kernel/random/boot_id")}/${readlinkSync("/proc/self/ns/pid")}`;
  return host;
}

/** Was it of this machine, and of an earlier boot? It surely runs no more then. */
export function isRebooted({ host }: ProcessIdentity): boolean {
  const [machine, boot] = host.split("/");
  const [ownMachine, ownBoot] = ownHost().split("/");
  return machine !== "" && machine === ownMachine && boot !== ownBoot;
}

/** State and start time of /proc/PID/stat: fields 3 and 22, counted after the name, which may contain anything. */
function statOf(pid: number): { readonly state: string; readonly started: string } {
  const stat = read(`/proc/${pid}/stat`);
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return { state: fields[0] ?? "", started: fields[19] ?? "" };
}

export function ownProcess(): ProcessIdentity {
  return { host: ownHost(), pid: process.pid, started: statOf(process.pid).started };
}

/**
 * True only if this process surely runs no more: it was of this host, and its pid is free, given to another process, or
 * a zombie's whose other threads have all ended. Anything that cannot be read is no proof.
 */
export function isProcessGone({ host: itsHost, pid, started }: ProcessIdentity): boolean {
  try {
    if (itsHost !== ownHost()) return false;
    const now = statOf(pid);
    if (now.started !== started) return true;
    return now.state === "Z" && readdirSync(`/proc/${pid}/task`).length === 1;
  } catch (error) {
    return error instanceof Error && "code" in error && (error.code === "ENOENT" || error.code === "ESRCH");
  }
}
