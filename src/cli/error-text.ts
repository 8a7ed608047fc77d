import type { MdError } from "../base/md-error.ts";
import { safeText } from "./render/safe-text.ts";

/**
 * What people read of a failure: one sentence that names the thing, then at most `why:` and `try:`. Text from disks
 * and peers is made harmless for a terminal.
 */
export function errorText(error: MdError): string {
  const lines = [`mdctl: ${safeText(error.message)}`];
  if (error.why !== null) lines.push(`  why: ${safeText(error.why)}`);
  if (error.hint !== null) lines.push(`  try: ${safeText(error.hint)}`);
  return `${lines.join("\n")}\n`;
}
