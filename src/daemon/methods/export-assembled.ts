import { MdError } from "../../base/md-error.ts";
import type { ArraySession } from "../array-session.ts";
import type { Daemon } from "../daemon.ts";

/** The export that comes with assembling. When it fails the array runs all the same: E_PARTIAL says both. */
export async function exportAssembled(
  daemon: Daemon,
  session: ArraySession,
  params: { readonly map: boolean; readonly readOnly: boolean },
): Promise<void> {
  if (!params.map) return;
  try {
    await session.map(daemon.config.stateDir, { listen: null, readOnly: params.readOnly });
  } catch (error) {
    throw new MdError("E_PARTIAL", `${session.name} is assembled, but not exported`, {
      why: error instanceof Error ? error.message : String(error),
      hint: `mdctl map ${session.name} --listen=127.0.0.1:10809`,
      cause: error,
    });
  }
}
