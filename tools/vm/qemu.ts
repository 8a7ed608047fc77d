import { type ChildProcess, execFile, spawn } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { cacheFolder } from "./cache.ts";
import { writeCpio } from "./cpio.ts";
import type { Kernel } from "./kernel.ts";

export type Accelerator = "kvm" | "tcg";

/** A raw file of the host that one or several guests have as /dev/disk/NAME. */
export interface GuestDisk {
  readonly name: string;
  readonly path: string;
}

export interface Machine {
  readonly kernel: Kernel;
  readonly accelerator: Accelerator;
  readonly initramfs: string;
  readonly memoryMiB: number;
  readonly cpus: number;
  readonly disks: readonly GuestDisk[];
  /** Where the guest's first serial port is written to. */
  readonly consoleLog: string;
  /** A listening Unix socket, which becomes the guest's port. */
  readonly agentSocket: string;
  /** Of the guests' common network; null: none. */
  readonly network: { readonly port: number; readonly number: number } | null;
}

const COMMAND_LINE = "console=ttyS0 quiet panic=-1 tsc=reliable mitigations=off";

/** Starts it as a child that the kernel kills when this process's main thread ends, however that happens. */
export function startQemu(machine: Machine): ChildProcess {
  const { accelerator, disks, network } = machine;
  const args = [
    ...base(machine.kernel, accelerator, machine.initramfs),
    ...["-m", String(machine.memoryMiB), "-smp", String(machine.cpus), "-serial", `file:${machine.consoleLog}`],
    ...["-device", "virtio-serial-pci", "-chardev", `socket,id=agent,path=${machine.agentSocket}`],
    ...["-device", "virtserialport,chardev=agent,name=agent"],
  ];
  for (const { name, path } of disks) {
    args.push("-drive", `file=${path},if=none,id=${name},format=raw,cache=writeback,discard=unmap,file.locking=off`);
    args.push("-device", `virtio-blk-pci,drive=${name},share-rw=on,serial=${name}`);
  }
  if (network !== null) {
    args.push("-netdev", `socket,id=net,mcast=230.0.0.77:${network.port},localaddr=127.0.0.1`);
    args.push("-device", `virtio-net-pci,netdev=net,mac=52:54:00:77:00:0${network.number}`);
  }
  return spawn("setpriv", ["--pdeathsig", "KILL", "qemu-system-x86_64", ...args], {
    stdio: ["ignore", "ignore", "pipe"],
  });
}

function base(kernel: Kernel, accelerator: Accelerator, initramfs: string): string[] {
  return [
    ...["-machine", `q35,accel=${accelerator}`, "-cpu", accelerator === "kvm" ? "host" : "max"],
    ...["-nodefaults", "-display", "none", "-no-reboot"],
    ...["-kernel", kernel.image, "-initrd", initramfs, "-append", COMMAND_LINE],
  ];
}

const PROBE_MS = 20_000;

/**
 * KVM where a kernel boots under it, else software emulation. There are machines where /dev/kvm opens and the guest dies in
 * its decompressor, so this boots one; the answer holds until the next boot of the machine.
 */
export async function chooseAccelerator(kernel: Kernel, busybox: string): Promise<Accelerator> {
  if (!existsSync("/dev/kvm")) return "tcg";
  const boot = readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  const answer = join(cacheFolder(), `accelerator-${boot}`);
  if (existsSync(answer)) return readFileSync(answer, "utf8") === "kvm" ? "kvm" : "tcg";
  const found = (await bootsUnderKvm(kernel, busybox)) ? "kvm" : "tcg";
  writeFileSync(answer, found);
  return found;
}

async function bootsUnderKvm(kernel: Kernel, busybox: string): Promise<boolean> {
  const initramfs = join(cacheFolder(), "probe.cpio");
  const init = "#!/bin/busybox sh\n/bin/busybox echo it boots\n/bin/busybox poweroff -f\n";
  writeCpio(
    initramfs,
    new Map([
      ["/bin/busybox", { from: busybox }],
      ["/init", { bytes: Buffer.from(init) }],
    ]),
  );
  const args = [...base(kernel, "kvm", initramfs), "-m", "256", "-serial", "stdio"];
  try {
    const { stdout } = await promisify(execFile)("qemu-system-x86_64", args, {
      timeout: PROBE_MS,
      killSignal: "SIGKILL",
    });
    return stdout.includes("it boots");
  } catch {
    return false;
  }
}
