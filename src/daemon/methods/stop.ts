import { MdError } from "../../base/md-error.ts";
import type { ArraySession } from "../array-session.ts";
import type { ErrorInfo } from "../control-api.ts";
import type { Daemon, LostArray } from "../daemon.ts";
import { errorInfo } from "../error-info.ts";
import { findArray, findLostArray } from "../find-array.ts";
import type { Method } from "./method.ts";

/**
 * Leaves arrays in order; the other nodes go on. Each is tried, whatever became of the one before. One that this node was
 * fenced from is left already: it is no longer told of.
 */
export const stop: Method<"stop"> = {
  read: (reader) => ({ arrays: reader.texts("arrays"), scan: reader.flag("scan") }),
  run: async ({ arrays, scan }, { daemon, warn }) => {
    if (!scan && arrays.length === 0) throw new MdError("E_USAGE", "stop needs the name of an array, or --scan");
    // All names are looked up before the first array is touched.
    const lost = scan ? daemon.lostArrays : arrays.map((name) => findLostArray(daemon, name)).filter(isLost);
    const present = arrays.filter((name) => findLostArray(daemon, name) === null);
    const sessions = scan ? daemon.sessions : present.map((name) => findArray(daemon, name, warn));
    const results: { name: string; stopped: boolean; error: ErrorInfo | null }[] = [];
    for (const array of new Set(lost)) {
      daemon.forgetLost(array);
      results.push({ name: array.name, stopped: true, error: null });
    }
    for (const session of new Set(sessions)) {
      const error = await stopArray(daemon, session);
      results.push({ name: session.name, stopped: error === null, error });
    }
    return { arrays: results };
  },
};

const isLost = (lost: LostArray | null): lost is LostArray => lost !== null;

/** Null when it has left the array. */
export async function stopArray(daemon: Daemon, session: ArraySession): Promise<ErrorInfo | null> {
  try {
    await daemon.operations.run(`stop ${session.name}`, async () => {
      session.refuseInUse();
      if (session.isMapped) await session.unmap(true);
      await session.node.stop();
      await session.node.ended;
    });
    return null;
  } catch (error) {
    return errorInfo(error);
  }
}
