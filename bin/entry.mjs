import { existsSync } from "node:fs";

/** Loads a module of the build; without one (or with MDCTL_FROM_SOURCE set) the source itself, through tsx. */
export async function entry(name) {
  const built = new URL(`../dist/${name}.js`, import.meta.url);
  if (!process.env.MDCTL_FROM_SOURCE && existsSync(built)) return import(built.href);
  const { register } = await import("tsx/esm/api");
  register();
  return import(new URL(`../src/${name}.ts`, import.meta.url).href);
}
