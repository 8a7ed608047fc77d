import { basename } from "node:path";
import { MdError } from "../../base/md-error.ts";
import type { MemberStatus } from "../../cluster/array-status.ts";
import { mdUuidText, parseUuid } from "../../superblock/uuid.ts";
import type { ArraySession } from "../array-session.ts";
import type { Change, ManageData, ManageOpName } from "../control-api.ts";
import { errorOf } from "../control-client.ts";
import { arrayUuid, type Daemon } from "../daemon.ts";
import { samePath } from "../device-scan.ts";
import { errorInfo } from "../error-info.ts";
import { findArray } from "../find-array.ts";
import { lookAtCandidates } from "../member-preflight.ts";
import type { Method } from "./method.ts";

type Done = ManageData["ops"][number];

/** A sequence of operations on members, strictly in order; the first failure stops the rest. */
export const manage: Method<"manage"> = {
  takesLocks: true,
  read: (reader) => ({
    array: reader.textOrNull("array"),
    ops: reader.objects("ops", (op) => ({
      op: op.word<ManageOpName>("op", ["add", "fail", "remove"]),
      member: op.text("member"),
    })),
  }),
  run: async ({ array, ops }, { daemon, warn }) => {
    const session = findArray(daemon, array, warn);
    const changes: Change[] = [];
    const done: Done[] = [];
    const command = ops.map(({ op, member }) => `${op} ${member}`).join(", ");
    const running = daemon.operations.run(`${session.name}: ${command}`, async () => {
      for (const [at, { op, member }] of ops.entries()) {
        const result = await carryOut(daemon, session, op, member, changes);
        done.push(...result);
        const failure = result.find(({ error }) => error !== null)?.error;
        if (failure == null) continue;
        for (const rest of ops.slice(at + 1)) done.push({ ...blank(rest.op, rest.member), result: "not-tried" });
        throw errorOf(failure);
      }
    });
    // The operation has failed, and says so; the answer is what became of each step.
    await running.catch((error: unknown) => {
      if (!done.some(({ result }) => result === "failed")) throw error;
    });
    return { array: session.name, ops: done, changes };
  },
};

const blank = (op: ManageOpName, member: string): Omit<Done, "result"> => ({
  op,
  member,
  as: null,
  number: null,
  perNode: [],
  error: null,
});

/** The words `faulty`, `failed` and `detached` stand for any number of members. */
async function carryOut(
  daemon: Daemon,
  session: ArraySession,
  op: ManageOpName,
  member: string,
  changes: Change[],
): Promise<readonly Done[]> {
  try {
    if (op === "add") return [await add(daemon, session, member, changes)];
    const done: Done[] = [];
    for (const target of targets(session, op, member)) {
      if (op === "fail") await session.node.failMember(target.number);
      else await session.node.removeMember(target.number);
      const path = target.path ?? member;
      changes.push({ what: op, target: path, before: target.state, after: op === "fail" ? "faulty" : "removed" });
      done.push({ ...blank(op, path), result: "done", number: target.number });
    }
    return done;
  } catch (error) {
    if (!(error instanceof MdError)) throw error;
    return [{ ...blank(op, member), result: "failed", error: errorInfo(withHint(error, session, op, member)) }];
  }
}

function withHint(error: MdError, { name }: ArraySession, op: ManageOpName, member: string): MdError {
  if (op !== "remove" || error.code !== "E_MEMBER_ACTIVE") return error;
  return new MdError("E_MEMBER_ACTIVE", `cannot remove ${member} from ${name}: it is an active member`, {
    hint: `mdctl ${name} --fail ${member} --remove ${member}`,
  });
}

function targets(session: ArraySession, op: ManageOpName, member: string): readonly MemberStatus[] {
  const members = session.status().members.filter(({ number }) => number >= 0);
  if (member === "faulty" || member === "failed") {
    return op === "remove" ? members.filter(({ state }) => state === "faulty") : [];
  }
  if (member === "detached") return members.filter(({ path }) => path === null);
  const found = members.find((one) => isCalled(one, member));
  if (found !== undefined) return [found];
  throw new MdError("E_MEMBER_NOT_FOUND", `${member} is not a member of ${session.name}`, {
    hint: `mdctl detail ${session.name}`,
  });
}

/** By device UUID, by path (any name of the device), or by the kernel's name. */
function isCalled({ path, deviceUuid }: MemberStatus, member: string): boolean {
  if (member.startsWith("UUID_SUB=")) {
    const wanted = mdUuidText(parseUuid(member.slice("UUID_SUB=".length)));
    return deviceUuid !== null && mdUuidText(deviceUuid) === wanted;
  }
  if (path === null) return false;
  return member.includes("/") ? samePath(path, member) : basename(path) === member;
}

async function add(daemon: Daemon, session: ArraySession, path: string, changes: Change[]): Promise<Done> {
  if (!path.startsWith("/")) throw new MdError("E_VALUE", `${path} is not an absolute path`);
  const already = session.status().members.find((member) => member.state !== "faulty" && isCalled(member, path));
  if (already !== undefined) throw new MdError("E_MEMBER_ACTIVE", `${path} is a member of ${session.name} already`);
  const isFileArray = session.status().members.some((member) => member.path?.startsWith("/dev/") === false);
  const [candidate] = await lookAtCandidates([path], daemon.config.fileMembers || isFileArray);
  if (candidate === undefined) throw new MdError("E_NO_DEVICE", `${path} does not exist on this node`);
  const other = candidate.superblock;
  if (other !== null && arrayUuid(other) !== session.uuid) {
    throw new MdError("E_DEVICE_IN_ARRAY", `${path} belongs to array "${other.setName}" (uuid ${arrayUuid(other)})`, {
      hint: `mdadm --zero-superblock ${path}`,
    });
  }
  if (candidate.key.startsWith("file")) daemon.scan.rememberFile(path);
  const returning = other !== null;
  const { number, raidDisk } = await daemon.membership.alone(() => session.node.addMember(path));
  await session.learnMembers();
  changes.push({ what: "add", target: path, before: null, after: { number, raidDisk } });
  const { node } = daemon.config;
  const nodes = session.status().slots.flatMap((slot) => (slot.node === null ? [] : [slot.node]));
  return {
    ...blank("add", path),
    result: "done",
    as: returning ? "re-add" : "spare",
    number,
    // All nodes have said that they see it, or it would not have been added; under which path, only ours is known.
    perNode: nodes.map((name) => ({ node: name, seen: true, path: name === node ? path : null })),
  };
}
