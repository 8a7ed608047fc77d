import { MdError } from "../base/md-error.ts";
import type { AddedMember, AddHow, MarkChange } from "../cluster/device-add.ts";
import { mdUuidText, sameUuid } from "../superblock/uuid.ts";
import type { ArraySession } from "./array-session.ts";
import { arrayUuid, type Daemon } from "./daemon.ts";
import { isCalled, manageTargets, memberWord } from "./manage-targets.ts";
import { lookAtCandidates } from "./member-preflight.ts";

/** The paths that are meant: `missing` and `faulty` (re-add only) stand for any number of devices. */
export async function pathsToAdd(
  daemon: Daemon,
  session: ArraySession,
  how: AddHow,
  member: string,
): Promise<readonly string[]> {
  if (how !== "re-add") return [member];
  if (member === "missing") return missingMembers(daemon, session);
  if (memberWord(member) === null && member.startsWith("/")) return [member];
  const targets = manageTargets(session, member);
  if (targets.length === 0) throw new MdError("E_MEMBER_NOT_FOUND", `${session.name} has no ${member} member`);
  return targets.flatMap(({ path }) => path ?? []);
}

/** Devices that were members of the array and are none now, as their superblocks tell. */
async function missingMembers(daemon: Daemon, session: ArraySession): Promise<readonly string[]> {
  const present = session.status().members.flatMap(({ deviceUuid }) => deviceUuid ?? []);
  const found = (await daemon.scan.all()).filter(
    ({ superblock }) =>
      mdUuidText(superblock.setUuid) === session.uuid && !present.some((uuid) => sameUuid(uuid, superblock.deviceUuid)),
  );
  if (found.length > 0) return found.map(({ path }) => path);
  throw new MdError("E_MEMBER_NOT_FOUND", `no missing member of ${session.name} can be seen on this node`, {
    hint: `mdctl detail ${session.name}`,
  });
}

/** Looks before anything is written, then has all nodes take the device in. */
export async function addMember(
  daemon: Daemon,
  session: ArraySession,
  how: AddHow,
  path: string,
  marks: MarkChange,
): Promise<AddedMember> {
  if (!path.startsWith("/")) throw new MdError("E_VALUE", `${path} is not an absolute path`);
  const already = session.status().members.find((member) => member.state !== "faulty" && isCalled(member, path));
  if (already !== undefined) throw new MdError("E_MEMBER_ACTIVE", `${path} is a member of ${session.name} already`);
  const isFileArray = session.status().members.some((member) => member.path?.startsWith("/dev/") === false);
  const [candidate] = await lookAtCandidates([path], daemon.config.fileMembers || isFileArray);
  if (candidate === undefined) throw new MdError("E_NO_DEVICE", `${path} does not exist on this node`);
  const other = candidate.superblock;
  if (other !== null && arrayUuid(other) !== session.uuid) {
    throw new MdError("E_DEVICE_IN_ARRAY", `${path} belongs to array "${other.setName}" (uuid ${arrayUuid(other)})`, {
      hint: `mdctl zero-superblock ${path}`,
    });
  }
  if (candidate.key.startsWith("file")) daemon.scan.rememberFile(path);
  const added = await daemon.membership.alone(() => session.node.addMember(path, how, marks));
  await session.learnMembers();
  return added;
}

/** `NUMBER:PATH` or `NUMBER:missing`, as mdadm's udev rules say it. E_VALUE for anything else, and if nobody has asked. */
export function confirmDevice(session: ArraySession, text: string): void {
  const match = /^(\d{1,4}):(missing|\/.*)$/.exec(text);
  if (match === null) {
    throw new MdError("E_VALUE", `cluster-confirm: "${text}" is neither NUMBER:DEVICE nor NUMBER:missing`);
  }
  const [, number = "", path = ""] = match;
  session.node.confirmDevice(Number(number), path === "missing" ? null : path);
}
