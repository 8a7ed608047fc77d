import { findTraces, type MetadataTrace, wipeTraces } from "../../array/metadata-traces.ts";
import { MdError } from "../../base/md-error.ts";
import { openFileDevice } from "../../blockdev/file-device.ts";
import { mdUuidText } from "../../superblock/uuid.ts";
import { shortName } from "../array-name.ts";
import type { WipedMember, ZeroSuperblockParams } from "../control-api.ts";
import type { Daemon } from "../daemon.ts";
import { lookAtCandidates } from "../member-preflight.ts";
import { openToLook } from "../open-to-look.ts";
import { refuseRunning } from "../running-member.ts";
import type { Method } from "./method.ts";

/** Makes members into devices that belong to nothing. All are looked at, and refused, before the first is written. */
export const zeroSuperblock: Method<"zeroSuperblock"> = {
  takesLocks: true,
  read: (reader) => ({
    members: reader.texts("members"),
    fileMembers: reader.flag("fileMembers"),
    force: reader.flag("force"),
    dryRun: reader.flag("dryRun"),
  }),
  run: async (params, { daemon }) => {
    if (params.dryRun) return { members: (await look(daemon, params)).map(({ member }) => member) };
    return daemon.operations.run(`zero-superblock ${params.members.join(" ")}`, () =>
      daemon.membership.alone(async () => {
        const found = await look(daemon, params);
        for (const { member, traces } of found) await wipe(daemon, member, traces);
        return { members: found.map(({ member }) => member) };
      }),
    );
  },
};

interface Found {
  readonly member: WipedMember;
  readonly traces: readonly MetadataTrace[];
}

async function look(daemon: Daemon, params: ZeroSuperblockParams): Promise<readonly Found[]> {
  const { members, fileMembers, force } = params;
  if (members.some((path) => !path.startsWith("/"))) throw new MdError("E_VALUE", "members must be absolute paths");
  const candidates = await lookAtCandidates(members, fileMembers || daemon.config.fileMembers);
  const found: Found[] = [];
  for (const candidate of candidates) {
    await refuseRunning(daemon, candidate);
    const { path, superblock } = candidate;
    const traces = await tracesOf(path);
    if (superblock === null && traces.length > 0 && !force) refuseBroken(path, traces);
    const array = superblock === null ? null : shortName(superblock.setName);
    const uuid = superblock === null ? null : mdUuidText(superblock.setUuid);
    found.push({ member: { path, array, uuid, wiped: traces.map(({ what }) => what) }, traces });
  }
  return found;
}

async function tracesOf(path: string): Promise<readonly MetadataTrace[]> {
  const device = await openToLook(path);
  try {
    return await findTraces(device);
  } finally {
    await device.close();
  }
}

function refuseBroken(path: string, traces: readonly MetadataTrace[]): never {
  const what = traces.map((trace) => trace.what).join(" and ");
  throw new MdError(
    "E_SUPERBLOCK_BAD",
    `${path} has a ${what} that cannot be read: nobody can tell what it is part of`,
    {
      hint: `mdctl zero-superblock ${path} --force`,
    },
  );
}

async function wipe(daemon: Daemon, { path, array }: WipedMember, traces: readonly MetadataTrace[]): Promise<void> {
  if (traces.length === 0) return;
  const device = await openFileDevice(path, { readOnly: false });
  try {
    await wipeTraces(device, traces);
  } finally {
    await device.close();
  }
  daemon.tell(
    "warn",
    "WIPED",
    null,
    `${path}${array === null ? "" : ` of ${array}`} is no member of anything any more`,
  );
}
