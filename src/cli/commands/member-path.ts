import { existsSync } from "node:fs";
import { resolve } from "node:path";

const words = new Set(["missing", "faulty", "failed", "detached"]);

/**
 * A member as the daemon takes it: its folder is not ours, so paths become absolute. Words, UUIDs and the kernel's
 * names (sdb) stay as they are.
 */
export function memberPath(text: string, cwd: string): string {
  if (words.has(text) || text.startsWith("UUID_SUB=") || text.startsWith("/")) return text;
  return text.includes("/") || existsSync(resolve(cwd, text)) ? resolve(cwd, text) : text;
}

/** A member that must be a path: what is to be created or added. */
export const newMemberPath = (text: string, cwd: string): string => resolve(cwd, text);
