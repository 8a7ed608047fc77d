import { MdError } from "../base/md-error.ts";
import type { FrozenInfo } from "./control-api.ts";
import { nextText } from "./frozen-info.ts";

/** E_LOCK_SERVICE_LOST as people need it: since when, what waits, what happens next and when. */
export const lockServiceLost = (frozen: FrozenInfo, cause?: unknown): MdError =>
  new MdError("E_LOCK_SERVICE_LOST", frozen.text, {
    why: nextText(frozen),
    hint: frozen.command ?? "mdctl cluster status",
    details: { ...frozen },
    ...(cause === undefined ? {} : { cause }),
  });

/** An error of a command, which knows that there was no answer, with what the daemon knows of the reason. */
export function explainLost(error: unknown, frozen: () => FrozenInfo | null): unknown {
  if (!(error instanceof MdError) || error.code !== "E_LOCK_SERVICE_LOST") return error;
  const known = frozen();
  return known === null ? error : lockServiceLost(known, error);
}
