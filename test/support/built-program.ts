import { execFileSync } from "node:child_process";
import { cpSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { tempDir } from "./temp-dir.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));

/** The program as people run it, compiled from the present sources: from source a daemon carries a compiler with it. */
export function buildProgram(): { readonly program: string; readonly remove: () => void } {
  const folder = tempDir("build");
  const to = (name: string): string => join(folder.path, name);
  const options = ["-p", "tsconfig.build.json", "--outDir", to("dist"), "--tsBuildInfoFile", to("tsbuildinfo")];
  execFileSync(join(root, "node_modules/.bin/tsc"), options, { cwd: root });
  cpSync(join(root, "src/dlm/redis/lua"), to("dist/dlm/redis/lua"), { recursive: true });
  cpSync(join(root, "bin"), to("bin"), { recursive: true });
  cpSync(join(root, "package.json"), to("package.json"));
  symlinkSync(join(root, "node_modules"), to("node_modules"));
  return { program: to("bin/mdctl.mjs"), remove: folder.remove };
}
