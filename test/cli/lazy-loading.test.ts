import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { expect, it } from "vitest";

/** What is loaded before a verb is known: everything that static imports reach. Types and `import()` do not count. */
function loadedBy(entry: string): { readonly files: ReadonlySet<string>; readonly packages: ReadonlySet<string> } {
  const files = new Set<string>();
  const packages = new Set<string>();
  const visit = (file: string): void => {
    if (files.has(file)) return;
    files.add(file);
    for (const [, clause = "", target = ""] of readFileSync(file, "utf8").matchAll(
      /^(?:import|export)\s+([^;"]*?from\s+)?"([^"]+)"/gm,
    )) {
      if (/^type\b/.test(clause)) continue;
      if (target.startsWith(".")) visit(join(dirname(file), target));
      else if (!target.startsWith("node:")) packages.add(target);
    }
  };
  visit(entry);
  return { files, packages };
}

it("mdctl starts without a single package, and without the code of any verb", () => {
  const { files, packages } = loadedBy("src/cli/main.ts");
  expect([...packages]).toEqual([]);
  const ofVerbs =
    /^src\/(?:cli\/(?:commands\/(?!commands)|render\/(?!safe-text))|engine|cluster|dlm|sim|array|blockdev)/;
  expect([...files].filter((file) => ofVerbs.test(file))).toEqual([]);
});

it("mdctld never loads what is for people only, and Redis only when it is asked for", () => {
  const { packages } = loadedBy("src/daemon/main.ts");
  expect([...packages]).not.toContain("blessed");
  expect([...packages]).not.toContain("yargs");
  expect([...packages]).not.toContain("ioredis");
});
