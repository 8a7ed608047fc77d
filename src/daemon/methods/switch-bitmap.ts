import { MdError } from "../../base/md-error.ts";
import { MOST_SLOTS } from "../../dlm/lockspace.ts";
import type { ArraySession } from "../array-session.ts";
import type { Change, GrowData, GrowParams } from "../control-api.ts";
import type { Daemon } from "../daemon.ts";
import { describeArray } from "../describe.ts";
import { DEFAULT_NODES } from "./create.ts";

/** `grow --bitmap` and `grow --nodes`: on the one node that uses the array, while clients write. */
export async function switchBitmap(params: GrowParams, session: ArraySession, daemon: Daemon): Promise<GrowData> {
  mustBeAlone(params);
  const { bitmap, nodes } = params;
  if (nodes !== null && nodes > MOST_SLOTS) {
    throw new MdError("E_VALUE", `${nodes} nodes are not possible: the maximum number of nodes is ${MOST_SLOTS}`);
  }
  const { node, name } = session;
  const wish = bitmap === null ? null : { kind: bitmap, ...sizeOf(session, params, daemon) };
  const isKind = wish !== null && wish.kind !== session.status().bitmap.kind;
  const plan = wish !== null && (isKind || nodes === null) ? node.planSwitch(wish) : node.planSlots(nodes ?? 0);
  const what = typeof plan.before === "number" ? "nodes" : "bitmap";
  const changes: Change[] = plan.before === plan.after ? [] : [{ what, target: name, ...plan }];
  const nothing = { array: name, shrinks: false, content: null };
  if (params.dryRun || changes.length === 0) return { ...nothing, changes, sync: null };
  await daemon.operations.run(`grow ${name}`, async () => {
    if (wish !== null && what === "bitmap") await node.switchBitmap(wish);
    else await node.changeSlots(nodes ?? 0);
  });
  const { sync } = await describeArray(daemon, session, false);
  return { ...nothing, changes, sync };
}

const sizeOf = (session: ArraySession, { nodes }: GrowParams, daemon: Daemon) => ({
  slots: nodes ?? session.status().maxSlots ?? DEFAULT_NODES,
  clusterName: daemon.config.cluster,
});

function mustBeAlone(params: GrowParams): void {
  const { bitmap, nodes, sizeBytes, sizeMax, raidDevices, bitmapChunkBytes, chunkBytes, add } = params;
  const others = [sizeBytes, raidDevices, bitmapChunkBytes, chunkBytes].some((each) => each !== null);
  if (others || sizeMax || add.length > 0) {
    throw new MdError("E_USAGE", `the ${bitmap === null ? "number of nodes" : "bitmap"} changes in a step of its own`);
  }
  if (bitmap === null || bitmap === "clustered" || nodes === null) return;
  throw new MdError("E_USAGE", `bitmap ${bitmap}: one node alone uses the array`, { hint: "--bitmap=clustered" });
}
