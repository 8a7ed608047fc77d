import { MdError } from "../base/md-error.ts";
import type { ErrorInfo } from "./control-api.ts";
import { redact } from "./redact.ts";

/** An error as the control API tells it. What is no MdError is a defect of ours: E_INTERNAL, without its stack. */
export function errorInfo(error: unknown): ErrorInfo {
  if (!(error instanceof MdError)) {
    const message = error instanceof Error ? error.message : String(error);
    return { code: "E_INTERNAL", message: `internal error: ${redact(message)}`, hint: null, details: {}, causes: [] };
  }
  const causes: { code: string; message: string }[] = [];
  if (error.why !== null) causes.push({ code: error.code, message: redact(error.why) });
  for (let cause = error.cause; cause instanceof Error && causes.length < 8; cause = cause.cause) {
    const code = cause instanceof MdError ? cause.code : ((cause as NodeJS.ErrnoException).code ?? "E_INTERNAL");
    causes.push({ code, message: redact(cause.message) });
  }
  return { code: error.code, message: redact(error.message), hint: error.hint, details: error.details, causes };
}
