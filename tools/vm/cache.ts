import { mkdirSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";

/** Where downloads and what is made of them stay between runs, outside the tree. */
export function cacheFolder(): string {
  const base = process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache");
  const folder = join(base, "mdctl", "vm");
  mkdirSync(folder, { recursive: true });
  return folder;
}
