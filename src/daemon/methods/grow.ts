import { MdError } from "../../base/md-error.ts";
import { bytesOf, sector } from "../../base/units.ts";
import type { Grown, GrowRequest } from "../../cluster/grow-command.ts";
import { contentOfArray } from "../array-content.ts";
import { type ArraySession, wholeSectors } from "../array-session.ts";
import { bitmapKind } from "../bitmap-kind-param.ts";
import type { Change, GrowParams } from "../control-api.ts";
import { errorOf } from "../control-client.ts";
import { describeArray } from "../describe.ts";
import { findArray } from "../find-array.ts";
import { manage } from "./manage.ts";
import type { Call, Method } from "./method.ts";
import { switchBitmap } from "./switch-bitmap.ts";

const MAX_BYTES = Number.MAX_SAFE_INTEGER;

/** Another size, number of members or bitmap chunk, on all nodes or on none. */
export const grow: Method<"grow"> = {
  takesLocks: true,
  read: (reader) => ({
    array: reader.textOrNull("array"),
    sizeBytes: reader.countOrNull("sizeBytes", 1, MAX_BYTES),
    sizeMax: reader.flag("sizeMax"),
    raidDevices: reader.countOrNull("raidDevices", 1, 1920),
    bitmapChunkBytes: reader.countOrNull("bitmapChunkBytes", 1, MAX_BYTES),
    chunkBytes: reader.countOrNull("chunkBytes", 1, MAX_BYTES),
    bitmap: bitmapKind(reader.textOrNull("bitmap")),
    nodes: reader.countOrNull("nodes", 1, 1024),
    add: reader.texts("add"),
    assumeClean: reader.flag("assumeClean"),
    mayShrink: reader.flag("mayShrink"),
    dryRun: reader.flag("dryRun"),
  }),
  run: async (params, call) => {
    const { daemon, warn } = call;
    const session = findArray(daemon, params.array, warn);
    if (params.bitmap !== null || params.nodes !== null) return switchBitmap(params, session, daemon);
    const request = requestOf(params);
    const plan = await session.node.planGrow(request);
    const shrinks = plan.after.memberSize < plan.before.memberSize;
    const content = shrinks ? await contentOfArray(session) : null;
    if (params.dryRun) return { array: session.name, changes: changesOf(session, plan), shrinks, content, sync: null };
    if (shrinks && !params.mayShrink) {
      throw new MdError("E_CONFIRM", `shrinking ${session.name} needs to be confirmed`, {
        hint: `mdctl grow ${session.name} --size=... --force --confirm=${session.name}`,
      });
    }
    const changes: Change[] = [];
    await daemon.operations.run(`grow ${session.name}`, async () => {
      const added = await addMembers(session, params.add, call, changes);
      try {
        changes.push(...changesOf(session, await session.node.grow(request)));
      } catch (error) {
        await takeBack(session, added, error);
        throw error;
      }
    });
    await session.learnMembers();
    const { sync } = await describeArray(daemon, session, false);
    return { array: session.name, changes, shrinks, content, sync };
  },
};

function requestOf(params: GrowParams): GrowRequest {
  const { sizeBytes, sizeMax, raidDevices, bitmapChunkBytes, chunkBytes, assumeClean } = params;
  if ([sizeBytes, raidDevices, bitmapChunkBytes, chunkBytes].every((each) => each === null) && !sizeMax) {
    throw new MdError("E_USAGE", "grow is not told what to change");
  }
  const size = sizeMax ? "max" : sizeBytes === null ? null : sector(wholeSectors("size", sizeBytes));
  const stripeSectors = chunkBytes === null ? null : wholeSectors("chunk", chunkBytes);
  return { size, raidDisks: raidDevices, chunkBytes: bitmapChunkBytes, stripeSectors, assumeClean };
}

function changesOf({ name }: ArraySession, { before, after }: Grown): readonly Change[] {
  const changes: Change[] = [
    { what: "size", target: name, before: bytesOf(before.memberSize), after: bytesOf(after.memberSize) },
    { what: "raid-devices", target: name, before: before.raidDisks, after: after.raidDisks },
    { what: "bitmap-chunk", target: name, before: before.chunkBytes, after: after.chunkBytes },
    { what: "chunk", target: name, before: before.stripeSectors * 512, after: after.stripeSectors * 512 },
  ];
  return changes.filter((change) => change.before !== change.after);
}

/** Numbers of the members that have become spares. Either all of them are added, or none. */
async function addMembers(
  session: ArraySession,
  paths: readonly string[],
  call: Call<"grow">,
  changes: Change[],
): Promise<readonly number[]> {
  if (paths.length === 0) return [];
  const ops = paths.map((member) => ({ op: "add" as const, member }));
  const done = await manage.run({ array: session.name, ops }, { ...call, emit: () => {} });
  changes.push(...done.changes);
  const added = done.ops.flatMap(({ result, number }) => (result === "done" && number !== null ? [number] : []));
  const failed = done.ops.find(({ error }) => error !== null)?.error;
  if (failed == null) return added;
  const error = errorOf(failed);
  await takeBack(session, added, error);
  throw error;
}

/** A command that is refused changes nothing; E_PARTIAL where that cannot be. */
async function takeBack(session: ArraySession, added: readonly number[], cause: unknown): Promise<void> {
  for (const number of added) {
    try {
      await session.node.removeMember(number);
    } catch (error) {
      if (!(error instanceof MdError)) throw error;
      const why = cause instanceof MdError ? cause.message : String(cause);
      throw new MdError("E_PARTIAL", `${session.name} was not changed, but member ${number} was added and stays`, {
        why: `${why}; ${error.message}`,
        hint: `mdctl detail ${session.name}`,
      });
    }
  }
}
