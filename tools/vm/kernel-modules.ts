import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import type { Kernel } from "./kernel.ts";

interface KernelModule {
  readonly name: string;
  readonly content: Buffer;
}

/**
 * The named modules, unpacked, each after what it depends on. Dependencies come from each module's own .modinfo: the
 * package has no modules.dep, which depmod makes at installation. What is built into the kernel is left out.
 */
export function modulesInOrder(kernel: Kernel, names: readonly string[]): readonly KernelModule[] {
  const files = new Map<string, string>();
  for (const entry of readdirSync(kernel.modules, { recursive: true, encoding: "utf8" })) {
    const name = /([^/]+)\.ko(\.xz)?$/.exec(entry)?.[1];
    if (name !== undefined) files.set(plain(name), join(kernel.modules, entry));
  }
  const builtIn = new Set(
    readFileSync(join(kernel.modules, "modules.builtin"), "utf8")
      .split("\n")
      .map((line) => plain(basename(line, ".ko"))),
  );
  const ordered = new Map<string, KernelModule>();
  const visit = (name: string): void => {
    if (ordered.has(name) || builtIn.has(name)) return;
    const file = files.get(name);
    if (file === undefined) throw new Error(`Linux ${kernel.version} has no module ${name}`);
    const content = file.endsWith(".xz")
      ? execFileSync("xz", ["-dc", file], { maxBuffer: 1 << 28 })
      : readFileSync(file);
    for (const needed of dependsOf(content)) visit(needed);
    ordered.set(name, { name, content });
  };
  for (const name of names) visit(plain(name));
  return [...ordered.values()];
}

/** The kernel takes - and _ for the same. */
const plain = (name: string): string => name.replaceAll("-", "_");

function dependsOf(content: Buffer): string[] {
  const at = content.indexOf("\0depends=") + "\0depends=".length;
  const text = content.toString("latin1", at, content.indexOf(0, at));
  return text
    .split(",")
    .filter((name) => name !== "")
    .map(plain);
}
