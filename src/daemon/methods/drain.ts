import { MdError } from "../../base/md-error.ts";
import type { ErrorInfo } from "../control-api.ts";
import type { Method } from "./method.ts";
import { stopArray } from "./stop.ts";

/**
 * Takes this node out of the cluster without a loss of work: every array is left in order, its resync goes on elsewhere
 * where it stands, and then the node leaves. All arrays are looked at before the first is touched.
 */
export const nodeDrain: Method<"nodeDrain"> = {
  read: (reader) => ({ node: reader.text("node") }),
  run: async ({ node }, { daemon }) => {
    const { config, sessions } = daemon;
    if (node !== config.node) {
      throw new MdError("E_VALUE", `${JSON.stringify(node.slice(0, 80))} is not this node (${config.node})`, {
        why: "a node is drained by its own daemon",
        hint: `mdctl node drain ${config.node}`,
      });
    }
    for (const session of sessions) session.refuseInUse();
    const arrays: { name: string; moved: boolean; stopped: boolean; error: ErrorInfo | null }[] = [];
    for (const session of sessions) {
      const { sync, slots } = session.status();
      const hasHeir = slots.some(({ slot, state }) => state === "up" && slot !== session.node.slot);
      const moved = hasHeir && sync?.phase === "running";
      const error = await stopArray(daemon, session);
      arrays.push({ name: session.name, moved, stopped: error === null, error });
    }
    const left = arrays.every(({ stopped }) => stopped);
    if (left) await daemon.drain();
    return { node, arrays, left };
  },
};
