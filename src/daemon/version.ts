import { readFileSync } from "node:fs";

/** The program's version, from package.json (two folders up, from the sources and from the build alike). */
export function programVersion(): string {
  const text = readFileSync(new URL("../../package.json", import.meta.url), "utf8");
  return String((JSON.parse(text) as { version?: unknown }).version);
}
