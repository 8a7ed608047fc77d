import { MdError } from "../../base/md-error.ts";
import type { ExportWish } from "../array-export.ts";
import type { ArraySession } from "../array-session.ts";

/** The export that comes with assembling. When it fails the array runs all the same: E_PARTIAL says both. */
export async function exportAssembled(
  session: ArraySession,
  params: { readonly map: boolean; readonly readOnly: boolean; readonly frontend: ExportWish["frontend"] },
): Promise<void> {
  if (!params.map) return;
  try {
    const { frontend } = params;
    await session.map({ frontend, listen: null, readOnly: params.readOnly, queues: null, depth: null, recover: false });
  } catch (error) {
    throw new MdError("E_PARTIAL", `${session.name} is assembled, but not exported`, {
      why: error instanceof Error ? error.message : String(error),
      hint: `mdctl map ${session.name} --listen=127.0.0.1:10809`,
      cause: error,
    });
  }
}
