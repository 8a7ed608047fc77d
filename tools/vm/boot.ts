import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Guest } from "./guest.ts";
import { buildInitramfs, type GuestContent, programPath } from "./initramfs.ts";
import { fetchKernel, type Kernel } from "./kernel.ts";
import { type Accelerator, chooseAccelerator, type GuestDisk, startQemu } from "./qemu.ts";
import { takeVmLock } from "./vm-lock.ts";

export type { Guest, GuestOutcome } from "./guest.ts";

export interface GuestSpec extends GuestContent {
  readonly disks?: readonly GuestDisk[];
  /** Default 768. */
  readonly memoryMiB?: number;
  /** Default 1: under software emulation a processor of the guest takes a whole one of the host. */
  readonly cpus?: number;
  /** After so long the guest powers itself off and QEMU is killed. Default 300. */
  readonly limitSeconds?: number;
}

/** A set of guests that share disks, and, when there are several, a network: 10.77.0.1, .2, .3. */
export interface GuestSet {
  readonly guests: readonly Guest[];
  readonly accelerator: Accelerator;
  /** Ends them all. Never rejects; may be called twice. */
  close(): Promise<void>;
}

/** Waits for its turn, boots a guest a spec and returns when all answer. Nothing stays behind when that fails. */
export async function bootGuests(...specs: readonly GuestSpec[]): Promise<GuestSet> {
  const release = await takeVmLock();
  const folder = mkdtempSync(join(tmpdir(), "mdctl-vm-"));
  const ends: (() => Promise<void>)[] = [];
  const close = async (): Promise<void> => {
    await Promise.all(ends.splice(0).map((end) => end()));
    rmSync(folder, { recursive: true, force: true });
    release();
  };
  try {
    const kernel = await fetchKernel();
    const accelerator = await chooseAccelerator(kernel, programPath("busybox"));
    const port = specs.length > 1 ? 20_000 + (process.pid % 20_000) : null;
    const boots = specs.map((spec, i) => bootOne({ spec, number: i + 1, kernel, accelerator, port, folder, ends }));
    return { guests: await Promise.all(boots), accelerator, close };
  } catch (error) {
    await close();
    throw error;
  }
}

interface BootPlan {
  readonly spec: GuestSpec;
  readonly number: number;
  readonly kernel: Kernel;
  readonly accelerator: Accelerator;
  readonly port: number | null;
  readonly folder: string;
  /** What ends this guest is added before anything can fail. */
  readonly ends: (() => Promise<void>)[];
}

async function bootOne({ spec, number, kernel, accelerator, port, folder, ends }: BootPlan): Promise<Guest> {
  const file = (name: string): string => join(folder, `${number}.${name}`);
  const limitSeconds = spec.limitSeconds ?? 300;
  buildInitramfs(file("cpio"), kernel, { ...spec, limitSeconds, address: `10.77.0.${number}` });
  const server = createServer().listen(file("sock"));
  await once(server, "listening");
  const qemu = startQemu({
    kernel,
    accelerator,
    initramfs: file("cpio"),
    memoryMiB: spec.memoryMiB ?? 768,
    cpus: spec.cpus ?? 1,
    disks: spec.disks ?? [],
    consoleLog: file("log"),
    agentSocket: file("sock"),
    network: port === null ? null : { port, number },
  });
  const limit = setTimeout(() => qemu.kill("SIGKILL"), (limitSeconds + 10) * 1000);
  const exited = once(qemu, "exit");
  ends.push(async () => {
    clearTimeout(limit);
    server.close();
    qemu.kill("SIGKILL");
    await exited;
  });
  let complaints = "";
  qemu.stderr?.setEncoding("utf8").on("data", (text: string) => {
    complaints += text;
  });
  const failed = exited.then(() => {
    throw new Error(`QEMU did not start: ${complaints}`);
  });
  failed.catch(() => {});
  const socket = await Promise.race([connectionOf(server), failed]);
  return Guest.boot(String(number), qemu, socket, file("log"));
}

async function connectionOf(server: Server): Promise<Socket> {
  const [socket] = (await once(server, "connection")) as [Socket];
  return socket;
}
