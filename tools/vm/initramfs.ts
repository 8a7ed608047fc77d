import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { type GuestFile, writeCpio } from "./cpio.ts";
import type { Kernel } from "./kernel.ts";
import { modulesInOrder } from "./kernel-modules.ts";

const own = (name: string): string => fileURLToPath(new URL(name, import.meta.url));
const root = own("../..");

/** What is in a guest beside busybox, Node and the harness's own agent. */
export interface GuestContent {
  /** Kernel modules, loaded at boot after what they depend on. */
  readonly modules?: readonly string[];
  /** Programs of this host, with their libraries: "mdadm". */
  readonly programs?: readonly string[];
  /** Path in the guest -> file or folder of the host. */
  readonly files?: Readonly<Record<string, string>>;
  /** bin/mdctl.mjs of a build (test/support/built-program.ts): it is /mdctl/bin/mdctl.mjs there, with the packages it needs. */
  readonly mdctl?: string;
}

const alwaysModules = ["virtio_pci", "virtio_blk", "virtio_console", "virtio_net"];

export function buildInitramfs(
  path: string,
  kernel: Kernel,
  content: GuestContent & { readonly limitSeconds: number; readonly address: string },
): void {
  const files = new Map<string, GuestFile>();
  addProgram(files, "/bin/busybox", programPath("busybox"));
  files.set("/init", { from: own("init.sh") });
  files.set("/vm/agent.mjs", { from: own("guest-agent.mjs") });
  files.set("/vm/limit", { bytes: Buffer.from(`${content.limitSeconds}\n`) });
  files.set("/vm/address", { bytes: Buffer.from(`${content.address}\n`) });
  const modules = modulesInOrder(kernel, [...alwaysModules, ...(content.modules ?? [])]);
  for (const { name, content: bytes } of modules) files.set(`/vm/modules/${name}.ko`, { bytes });
  files.set("/vm/modules.list", { bytes: Buffer.from(modules.map(({ name }) => `${name}\n`).join("")) });
  addProgram(files, "/bin/node", process.execPath);
  for (const name of content.programs ?? []) addProgram(files, `/bin/${name}`, programPath(name));
  for (const [to, from] of Object.entries(content.files ?? {})) addTree(files, to, from);
  if (content.mdctl !== undefined) addMdctl(files, dirname(dirname(content.mdctl)));
  writeCpio(path, files);
}

/** A program under its guest path, and the libraries that the loader would take, under their own. */
function addProgram(files: Map<string, GuestFile>, to: string, from: string): void {
  files.set(to, { from });
  // Of a static program ldd says that it is not a dynamic executable, with exit status 1.
  const { stdout } = spawnSync("ldd", [from], { encoding: "utf8" });
  for (const [, library = ""] of stdout.matchAll(/(\/\S+) \(0x/g)) {
    files.set(library, { from: library });
  }
}

export function programPath(name: string): string {
  const folders = [...(process.env["PATH"] ?? "").split(":"), "/usr/sbin", "/sbin"];
  const found = folders.map((folder) => join(folder, name)).find((path) => existsSync(path));
  if (found === undefined) throw new Error(`${name} is not installed: node tools/setup.mjs vm`);
  return found;
}

/** A file, or a folder with all below it whose name is wanted. */
function addTree(files: Map<string, GuestFile>, to: string, from: string, wanted: RegExp = /./): void {
  if (!statSync(from).isDirectory()) {
    files.set(to, { from });
    return;
  }
  for (const entry of readdirSync(from, { withFileTypes: true })) {
    const [inGuest, onHost] = [`${to}/${entry.name}`, join(from, entry.name)];
    if (entry.isDirectory()) addTree(files, inGuest, onHost, wanted);
    else if (entry.isFile() && wanted.test(entry.name)) files.set(inGuest, { from: onHost });
  }
}

function addMdctl(files: Map<string, GuestFile>, folder: string): void {
  const runs = /\.(m?js|cjs|json|node|lua)$/;
  for (const part of ["bin", "dist"]) addTree(files, `/mdctl/${part}`, join(folder, part), runs);
  files.set("/mdctl/package.json", { from: join(root, "package.json") });
  const lock = JSON.parse(readFileSync(join(root, "package-lock.json"), "utf8")) as {
    readonly packages: Readonly<Record<string, { readonly dev?: boolean; readonly devOptional?: boolean }>>;
  };
  for (const [path, { dev, devOptional }] of Object.entries(lock.packages)) {
    if (path === "" || dev === true || devOptional === true || !existsSync(join(root, path))) continue;
    addTree(files, `/mdctl/${path}`, join(root, path), runs);
  }
}
