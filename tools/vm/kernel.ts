import { execFile } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { aptSourceOf } from "./apt-source.ts";
import { cacheFolder } from "./cache.ts";

const run = promisify(execFile);

/** The first Debian release whose kernel has ublk_drv beside md-cluster, dlm, nbd and scsi_debug. */
const SUITE = "trixie";

export interface Kernel {
  /** As `uname -r` says it. */
  readonly version: string;
  readonly image: string;
  /** lib/modules/VERSION, the modules packed as in the package. */
  readonly modules: string;
}

/**
 * The kernel that guests boot: of the cache, else fetched with apt, under a configuration of its own, and unpacked there. No
 * privilege is needed and the system's apt is left alone. Callers hold the VM lock. To have a newer one, remove the folder.
 */
export async function fetchKernel(): Promise<Kernel> {
  const folder = join(cacheFolder(), `kernel-${SUITE}`);
  if (!existsSync(folder)) await download(folder);
  const modules = join(folder, "usr/lib/modules");
  const version = readdirSync(modules)[0] ?? "";
  return { version, image: join(folder, `boot/vmlinuz-${version}`), modules: join(modules, version) };
}

async function download(to: string): Promise<void> {
  const work = mkdtempSync(`${to}.new-`);
  try {
    const apt = aptOptions(work);
    await run("apt-get", [...apt, "update"]);
    const { stdout } = await run("apt-cache", [...apt, "depends", "linux-image-amd64"]);
    const name = /Depends: (linux-image-\S+)/.exec(stdout)?.[1];
    if (name === undefined) throw new Error(`no kernel in ${SUITE}:\n${stdout}`);
    await run("apt-get", [...apt, "download", name], { cwd: join(work, "deb") });
    const [deb = ""] = readdirSync(join(work, "deb"));
    await run("dpkg-deb", ["--extract", join(work, "deb", deb), join(work, "root")]);
    renameSync(join(work, "root"), to);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

function aptOptions(work: string): string[] {
  const folder = (name: string): string => {
    mkdirSync(join(work, name), { recursive: true });
    return join(work, name);
  };
  folder("deb");
  writeFileSync(join(folder("sources"), "kernel.sources"), aptSourceOf(SUITE));
  const settings = [
    "Dir::Etc::SourceList=/dev/null",
    `Dir::Etc::SourceParts=${join(work, "sources")}`,
    `Dir::Etc::PreferencesParts=${folder("preferences")}`,
    `Dir::State=${folder("state")}`,
    `Dir::State::Lists=${folder("lists")}`,
    "Dir::State::Status=/dev/null",
    `Dir::Cache=${folder("cache")}`,
    "Acquire::Languages=none",
    // The unprivileged user that apt changes to cannot enter a private folder.
    "APT::Sandbox::User=",
  ];
  return settings.flatMap((setting) => ["-o", setting]);
}
