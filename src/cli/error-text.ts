import { MdError } from "../base/md-error.ts";
import type { ErrorInfo } from "../daemon/control-api.ts";
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

/** The same for the `error` of an envelope. */
export function errorInfo(error: MdError): ErrorInfo {
  const causes: { code: string; message: string }[] = [];
  if (error.why !== null) causes.push({ code: error.code, message: error.why });
  for (let cause = error.cause; cause instanceof Error; cause = cause.cause) {
    const code = cause instanceof MdError ? cause.code : ((cause as NodeJS.ErrnoException).code ?? "E_INTERNAL");
    causes.push({ code, message: cause.message });
  }
  return { code: error.code, message: error.message, hint: error.hint, details: error.details, causes };
}
