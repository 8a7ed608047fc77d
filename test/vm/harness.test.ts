import { execFileSync, spawn } from "node:child_process";
import { readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { bootGuests, type Guest, type GuestSet } from "../../tools/vm/boot.ts";
import { buildProgram } from "../support/built-program.ts";
import { tempDir } from "../support/temp-dir.ts";

describe("two guests", () => {
  const folder = tempDir("vm-harness");
  const shared = join(folder.path, "shared");
  let set: GuestSet;
  let one: Guest;
  let other: Guest;

  beforeAll(async () => {
    writeFileSync(shared, "");
    truncateSync(shared, 4 << 20);
    const built = buildProgram();
    const disks = [{ name: "shared", path: shared }];
    try {
      const modules = ["ublk_drv", "md-cluster", "raid1", "dlm", "nbd", "scsi_debug", "sd_mod"];
      set = await bootGuests({ disks, modules, mdctl: built.program }, { disks });
    } finally {
      built.remove();
    }
    [one, other] = set.guests as [Guest, Guest];
  });
  afterAll(async () => {
    await set?.close();
    folder.remove();
  });

  it("run commands beside each other and tell how they ended", async () => {
    const slow = one.run("while [ ! -e /tmp/go ]; do sleep 0.1; done; echo gone; exit 3");
    expect(await one.run("echo out; echo err >&2; touch /tmp/go")).toEqual({
      exitCode: 0,
      stdout: "out\n",
      stderr: "err\n",
    });
    expect(await slow).toMatchObject({ exitCode: 3, stdout: "gone\n" });
    expect(await one.run("sleep 100", 200)).toMatchObject({ exitCode: -1, stderr: expect.stringContaining("SIGKILL") });
    await expect(one.output("echo why >&2; false")).rejects.toThrow("why");
    expect((await one.output("sleep 1000 & echo at once")).trim()).toBe("at once");
  });

  it("have the kernel's parts that tests are about", async () => {
    const modules = await one.output("lsmod");
    for (const name of ["ublk_drv", "md_cluster", "dlm", "nbd", "scsi_debug"]) expect(modules).toContain(name);
    // A SCSI disk is looked for behind the module's back.
    await one.output("while [ ! -e /dev/sda ]; do sleep 0.1; done; ls -d /dev/ublk-control /dev/nbd0", 30_000);
  });

  it("hand files over", async () => {
    const bytes = await one.output("head -c 300000 /dev/urandom >/tmp/f; md5sum </tmp/f");
    writeFileSync(join(folder.path, "f"), await one.readFile("/tmp/f"));
    expect(execFileSync("sh", ["-c", "md5sum <f"], { cwd: folder.path, encoding: "utf8" })).toBe(bytes);
    await expect(one.readFile("/nowhere")).rejects.toThrow("ENOENT");
  });

  it("share disks with each other and with the host", async () => {
    await one.output("echo from one | dd of=/dev/disk/shared bs=512 conv=sync,fsync");
    expect(await other.output("head -c 8 /dev/disk/shared")).toBe("from one");
    expect(readFileSync(shared).subarray(0, 8).toString()).toBe("from one");
  });

  it("reach each other", async () => {
    expect((await one.run("ping -c 1 -w 20 10.77.0.2")).exitCode).toBe(0);
  });

  it("run mdctl", async () => {
    expect(await one.output("node /mdctl/bin/mdctl.mjs --version")).toContain("mdctl 0.");
  });

  it("die, and say so", async () => {
    const running = other.run("sleep 1000");
    await other.kill();
    await expect(running).rejects.toThrow("killed");
    await expect(other.run("true")).rejects.toThrow("killed");
    expect((await one.run("true")).exitCode).toBe(0);
  });
});

it("a guest ends with the process that booted it, and so does the lock", async () => {
  const boot = fileURLToPath(new URL("../../tools/vm/boot.ts", import.meta.url));
  const child = spawn(process.execPath, [
    "--import",
    "tsx",
    "-e",
    `import(${JSON.stringify(boot)}).then((m) => m.bootGuests({}))`,
  ]);
  const pid = await vi.waitFor(() => qemuOf(child.pid ?? 0), { timeout: 60_000 });
  child.kill("SIGKILL");
  await vi.waitFor(() => expect(() => process.kill(pid, 0)).toThrow("ESRCH"), { timeout: 10_000 });
  const { close } = await bootGuests();
  await close();
});

/** The QEMU that a process has started; throws while there is none. */
function qemuOf(parent: number): number {
  const children = readFileSync(`/proc/${parent}/task/${parent}/children`, "utf8").trim().split(" ");
  const qemu = children.find((pid) => readFileSync(`/proc/${pid}/comm`, "utf8").startsWith("qemu"));
  if (qemu === undefined) throw new Error("no guest yet");
  return Number(qemu);
}
