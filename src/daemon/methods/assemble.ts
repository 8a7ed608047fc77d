import { readBitmapShape } from "../../array/bitmap-store.ts";
import { readSuperblock } from "../../array/superblock-store.ts";
import { MdError } from "../../base/md-error.ts";
import { MOST_SLOTS } from "../../dlm/lockspace.ts";
import { Feature, hasFeature } from "../../superblock/superblock.ts";
import { mdUuidText, parseUuid } from "../../superblock/uuid.ts";
import { shortName } from "../array-name.ts";
import type { ArraySession } from "../array-session.ts";
import type { AssembleData, AssembleParams, BadBlockUpdate } from "../control-api.ts";
import { arrayUuid, type Daemon } from "../daemon.ts";
import { describeArray } from "../describe.ts";
import type { ScannedMember } from "../device-scan.ts";
import { checkDeviceUse } from "../device-use.ts";
import { errorInfo } from "../error-info.ts";
import { nameOf, uuidOf } from "../find-array.ts";
import { openToLook } from "../open-to-look.ts";
import { exportAssembled } from "./export-assembled.ts";
import type { Method } from "./method.ts";

type Assembled = AssembleData["arrays"][number];

/** Starts arrays that are on disk already: the one that is named, the one whose members are given, or all (`scan`). */
export const assemble: Method<"assemble"> = {
  takesLocks: true,
  read: (reader) => ({
    array: reader.textOrNull("array"),
    uuid: reader.textOrNull("uuid"),
    name: reader.textOrNull("name"),
    members: reader.texts("members"),
    scan: reader.flag("scan"),
    run: reader.flag("run"),
    noDegraded: reader.flag("noDegraded"),
    force: reader.flag("force"),
    readOnly: reader.flag("readOnly"),
    homeCluster: reader.textOrNull("homeCluster"),
    updateNodes: reader.countOrNull("updateNodes", 1, MOST_SLOTS),
    updateBadBlockLog: badBlockUpdate(reader.textOrNull("updateBadBlockLog")),
    map: reader.flag("map"),
  }),
  run: async (params, { daemon }) => {
    const members = await candidates(daemon, params);
    const groups = byArray(members);
    const wanted = [...groups].filter(([uuid, found]) => isWanted(params, uuid, found) && isSearched(params, found));
    if (params.updateBadBlockLog != null && params.readOnly) {
      throw new MdError("E_VALUE", "a read-only array is not written: its bad-block logs stay as they are");
    }
    if (wanted.length === 0) return nothingFound(daemon, params);
    if (wanted.length > 1 && !params.scan) refuseSeveral(wanted);
    const arrays: Assembled[] = [];
    for (const [uuid, found] of wanted) arrays.push(await assembleOne(daemon, params, uuid, found));
    const [only] = arrays;
    return { arrays: params.scan || only === undefined ? arrays : [only] };
  },
};

function badBlockUpdate(text: string | null): BadBlockUpdate | null {
  const words: readonly BadBlockUpdate[] = ["bbl", "no-bbl", "force-no-bbl"];
  const word = words.find((one) => one === text) ?? null;
  if (word !== null || text === null) return word;
  throw new MdError("E_VALUE", `assemble: updateBadBlockLog is not one of ${words.join(", ")}`);
}

function byArray(members: readonly ScannedMember[]): Map<string, ScannedMember[]> {
  const groups = new Map<string, ScannedMember[]>();
  for (const member of members) {
    const uuid = arrayUuid(member.superblock);
    groups.set(uuid, [...(groups.get(uuid) ?? []), member]);
  }
  return groups;
}

/** Devices that were given must be readable and be members; what a scan finds, is what there is. */
async function candidates(daemon: Daemon, { members }: AssembleParams): Promise<readonly ScannedMember[]> {
  if (members.length === 0) return daemon.scan.all();
  return Promise.all(
    members.map(async (path) => {
      if (!path.startsWith("/")) throw new MdError("E_VALUE", "members must be absolute paths");
      // A regular file that is a member already was allowed to be one when its array was created.
      const { isBlockDevice } = checkDeviceUse(path, true);
      if (!isBlockDevice) daemon.scan.rememberFile(path);
      const device = await openToLook(path);
      try {
        return { path, superblock: await readSuperblock(device) };
      } finally {
        await device.close();
      }
    }),
  );
}

function isWanted(params: AssembleParams, uuid: string, [first]: readonly ScannedMember[]): boolean {
  if (params.uuid !== null && mdUuidText(parseUuid(params.uuid)) !== uuid) return false;
  const name = shortName(first?.superblock.setName ?? "");
  if (params.name !== null && shortName(params.name) !== name) return false;
  if (params.array === null || params.uuid !== null || params.name !== null) return true;
  const byUuid = uuidOf(params.array);
  if (byUuid !== null) return byUuid === uuid;
  // With members the name is what the caller wants to call it; the superblocks say what it is.
  return params.members.length > 0 || nameOf(params.array) === name;
}

/** What one host alone uses is started by name only: others may see its members, too. */
const isSearched = ({ scan }: AssembleParams, [first]: readonly ScannedMember[]): boolean =>
  !scan || (first !== undefined && hasFeature(first.superblock, Feature.clustered));

function nothingFound(daemon: Daemon, params: AssembleParams): AssembleData {
  if (params.scan) return { arrays: [] };
  const what = params.array ?? params.name ?? params.uuid ?? "an array";
  const active = daemon.sessions.find(({ name, uuid }) => name === nameOf(what) || uuid === uuidOf(what));
  if (active !== undefined) {
    throw new MdError("E_ARRAY_ACTIVE", `${active.name} is assembled on this node already`);
  }
  throw new MdError("E_NO_ARRAY", `no member of ${what} was found on this node`, {
    why: "all block devices were searched for its superblock",
    hint: "mdctl examine DEVICE",
  });
}

function refuseSeveral(wanted: readonly (readonly [string, readonly ScannedMember[]])[]): never {
  const list = wanted.map(([uuid, [first]]) => `"${first?.superblock.setName}" (uuid ${uuid})`).join(", ");
  throw new MdError("E_ARRAY_AMBIGUOUS", `more than one array is meant: ${list}`, { hint: "mdctl assemble --scan" });
}

async function assembleOne(
  daemon: Daemon,
  params: AssembleParams,
  uuid: string,
  members: readonly ScannedMember[],
): Promise<Assembled> {
  const name = shortName(members[0]?.superblock.setName ?? "");
  const nothing = { array: null, name, uuid, started: false };
  if (params.scan && daemon.session(uuid) !== null) {
    return { ...nothing, started: true, why: "it is assembled already", error: null };
  }
  try {
    await refuseForeign(daemon, params, name, members);
    const session = await daemon.operations.run(`assemble ${name}`, () =>
      daemon.startArray(uuid, {
        memberPaths: members.map(({ path }) => path),
        name,
        readOnly: params.readOnly,
        run: params.run,
        force: params.force,
        updateBadBlockLog: params.updateBadBlockLog ?? null,
      }),
    );
    if (params.updateNodes !== null) await updateNodes(session, params.updateNodes);
    if (params.noDegraded && session.status().health.includes("_")) {
      await session.node.stop();
      return { ...nothing, why: "it is degraded, and --no-degraded was given", error: null };
    }
    await exportAssembled(session, { ...params, frontend: "auto" });
    return { ...nothing, array: await describeArray(daemon, session, true), started: true, why: null, error: null };
  } catch (error) {
    if (!params.scan) throw error;
    return { ...nothing, why: error instanceof Error ? error.message : String(error), error: errorInfo(error) };
  }
}

/** As mdadm, which changes it before the array runs: clients have not come yet. */
async function updateNodes(session: ArraySession, nodes: number): Promise<void> {
  try {
    await session.node.waitIdle();
    await session.node.changeSlots(nodes);
  } catch (error) {
    await session.node.stop();
    throw error;
  }
}

/** Arrays of another cluster are kept from this one: its lock service knows nothing of theirs. */
async function refuseForeign(
  daemon: Daemon,
  params: AssembleParams,
  name: string,
  members: readonly ScannedMember[],
): Promise<void> {
  const [first] = members;
  if (first === undefined || !hasFeature(first.superblock, Feature.clustered)) return;
  const device = await openToLook(first.path);
  try {
    const { super: bitmap } = await readBitmapShape(device, first.superblock);
    const wanted = params.homeCluster ?? daemon.config.cluster;
    if (bitmap.clusterName === wanted && wanted === daemon.config.cluster) return;
    throw new MdError(
      "E_CLUSTER_CONFLICT",
      `${name} belongs to cluster "${bitmap.clusterName}"; this is "${daemon.config.cluster}"`,
      {
        hint: `mdctl daemon --cluster=${bitmap.clusterName}`,
      },
    );
  } finally {
    await device.close();
  }
}
