import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A directory of its own for a test, removed by `remove`. */
export function tempDir(name: string): { readonly path: string; readonly remove: () => void } {
  const path = mkdtempSync(join(tmpdir(), `mdctl-${name}-`));
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}
