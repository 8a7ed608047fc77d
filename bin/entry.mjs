import { existsSync, readdirSync, statSync } from "node:fs";
import { fileURLToPath } from "node:url";

const here = (path) => fileURLToPath(new URL(`../${path}`, import.meta.url));

/** Loads a module of the build; the source itself, through tsx, where there is no build or it is older. */
export async function entry(name) {
  if (isBuilt(name)) return import(new URL(`../dist/${name}.js`, import.meta.url).href);
  const { register } = await import("tsx/esm/api");
  register();
  return import(new URL(`../src/${name}.ts`, import.meta.url).href);
}

function isBuilt(name) {
  if (process.env.MDCTL_FROM_SOURCE || !existsSync(here(`dist/${name}.js`))) return false;
  // Whoever edits the source and starts the program means what is in the editor. An installed program has no record.
  const record = statSync(here("node_modules/.cache/tsc/build.tsbuildinfo"), { throwIfNoEntry: false });
  return record === undefined || !existsSync(here("src")) || newest(here("src")) <= record.mtimeMs;
}

function newest(folder) {
  let time = 0;
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = `${folder}/${entry.name}`;
    time = Math.max(time, entry.isDirectory() ? newest(path) : statSync(path).mtimeMs);
  }
  return time;
}
