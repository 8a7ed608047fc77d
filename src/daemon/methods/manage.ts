import { MemberFlag } from "../../array/member.ts";
import { MdError } from "../../base/md-error.ts";
import type { MemberStatus } from "../../cluster/array-status.ts";
import { type AddHow, type MarkChange, noMarks } from "../../cluster/device-add.ts";
import type { ArraySession } from "../array-session.ts";
import type { Change, ManageData, ManageFlag, ManageOp, ManageOpName } from "../control-api.ts";
import { errorOf } from "../control-client.ts";
import type { Daemon } from "../daemon.ts";
import { errorInfo } from "../error-info.ts";
import { findArray } from "../find-array.ts";
import { addMember, confirmDevice, pathsToAdd } from "../manage-add.ts";
import { manageTargets } from "../manage-targets.ts";
import type { Method } from "./method.ts";

const manageOps: readonly ManageOpName[] = [
  "add",
  "re-add",
  "add-spare",
  "fail",
  "remove",
  "replace",
  "cluster-confirm",
];

const adds: ReadonlySet<ManageOpName> = new Set(["add", "re-add", "add-spare"]);

const marks: Readonly<Record<ManageFlag, MarkChange>> = {
  "write-mostly": { set: MemberFlag.writeMostly, clear: 0 },
  readwrite: { set: 0, clear: MemberFlag.writeMostly },
  failfast: { set: MemberFlag.failfast, clear: 0 },
  nofailfast: { set: 0, clear: MemberFlag.failfast },
};

function flagOf(text: string): ManageFlag {
  if (Object.hasOwn(marks, text)) return text as ManageFlag;
  throw new MdError("E_VALUE", `manage: flags is not of ${Object.keys(marks).join(", ")}`);
}

/** The last word on a mark counts. */
const marksOf = (flags: readonly ManageFlag[]): MarkChange =>
  flags.reduce(
    ({ set, clear }, flag) => ({
      set: (set & ~marks[flag].clear) | marks[flag].set,
      clear: (clear & ~marks[flag].set) | marks[flag].clear,
    }),
    noMarks,
  );

type Done = ManageData["ops"][number];

/** A sequence of operations on members, strictly in order; the first failure stops the rest. */
export const manage: Method<"manage"> = {
  takesLocks: true,
  read: (reader) => ({
    array: reader.textOrNull("array"),
    ops: reader.objects("ops", (op) => ({
      op: op.word<ManageOpName>("op", manageOps),
      member: op.text("member"),
      with: op.textOrNull("with"),
      flags: op.textsIfAny("flags").map(flagOf),
    })),
  }),
  run: async ({ array, ops }, { daemon, warn }) => {
    const session = findArray(daemon, array, warn);
    const changes: Change[] = [];
    const done: Done[] = [];
    const command = ops.map(({ op, member }) => `${op} ${member}`).join(", ");
    const stray = ops.find((op) => op.op !== "replace" && op.with != null);
    if (stray !== undefined) throw new MdError("E_VALUE", `manage: ${stray.op} takes no "with"`);
    const marked = ops.find(({ op, flags = [] }) => flags.length > 0 && !adds.has(op));
    if (marked !== undefined) throw new MdError("E_VALUE", `manage: ${marked.op} takes no flags`);
    const running = daemon.operations.run(`${session.name}: ${command}`, async () => {
      for (const [at, op] of ops.entries()) {
        const result = await carryOut(daemon, session, op, changes);
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
  by: null,
  perNode: [],
  error: null,
});

async function carryOut(
  daemon: Daemon,
  session: ArraySession,
  { op, member, with: by, flags = [] }: ManageOp,
  changes: Change[],
): Promise<readonly Done[]> {
  const done: Done[] = [];
  try {
    switch (op) {
      case "add":
      case "re-add":
      case "add-spare":
        for (const path of await pathsToAdd(daemon, session, op, member)) {
          done.push(await add(daemon, session, { how: op, path, marks: marksOf(flags) }, changes));
        }
        break;
      case "fail":
      case "remove":
        for (const target of manageTargets(session, member))
          done.push(await change(session, op, target, member, changes));
        break;
      case "replace":
        for (const target of manageTargets(session, member))
          done.push(await replace(session, target, member, by ?? null, changes));
        break;
      case "cluster-confirm":
        confirmDevice(session, member);
        done.push({ ...blank(op, member), result: "done" });
    }
    return done;
  } catch (error) {
    if (!(error instanceof MdError)) throw error;
    return [
      ...done,
      { ...blank(op, member), result: "failed", error: errorInfo(withHint(error, session, op, member)) },
    ];
  }
}

function withHint(error: MdError, { name }: ArraySession, op: ManageOpName, member: string): MdError {
  if (op !== "remove" || error.code !== "E_MEMBER_ACTIVE") return error;
  return new MdError("E_MEMBER_ACTIVE", `cannot remove ${member} from ${name}: it is an active member`, {
    hint: `mdctl ${name} --fail ${member} --remove ${member}`,
  });
}

async function change(
  session: ArraySession,
  op: "fail" | "remove",
  target: MemberStatus,
  member: string,
  changes: Change[],
): Promise<Done> {
  if (op === "fail") await session.node.failMember(target.number);
  else await session.node.removeMember(target.number);
  const path = target.path ?? member;
  changes.push({ what: op, target: path, before: target.state, after: op === "fail" ? "faulty" : "removed" });
  return { ...blank(op, path), result: "done", number: target.number };
}

/** The old member goes on serving: what the answer names is where the new one is. */
async function replace(
  session: ArraySession,
  target: MemberStatus,
  member: string,
  by: string | null,
  changes: Change[],
): Promise<Done> {
  const spare = by === null ? null : oneTarget(session, by);
  const replacing = await session.node.replaceMember(target.number, spare?.number ?? null);
  const path = target.path ?? member;
  const after = session.status().members.find(({ number }) => number === replacing.by)?.path ?? null;
  changes.push({
    what: "replace",
    target: path,
    before: { number: target.number },
    after: { ...replacing, path: after },
  });
  return {
    ...blank("replace", path),
    result: "done",
    number: target.number,
    by: { number: replacing.by, path: after },
  };
}

function oneTarget(session: ArraySession, member: string): MemberStatus {
  const [target, more] = manageTargets(session, member);
  if (target !== undefined && more === undefined) return target;
  throw new MdError("E_VALUE", `${member} does not name one spare of ${session.name}`);
}

interface Adding {
  readonly how: AddHow;
  readonly path: string;
  readonly marks: MarkChange;
}

async function add(
  daemon: Daemon,
  session: ArraySession,
  { how: op, path, marks: wanted }: Adding,
  changes: Change[],
): Promise<Done> {
  const { number, raidDisk, as } = await addMember(daemon, session, op, path, wanted);
  changes.push({ what: op, target: path, before: null, after: { number, raidDisk } });
  const { node } = daemon.config;
  const nodes = session.status().slots.flatMap((slot) => (slot.node === null ? [] : [slot.node]));
  return {
    ...blank(op, path),
    result: "done",
    as,
    number,
    // All nodes have said that they see it, or it would not have been added; under which path, only ours is known.
    perNode: nodes.map((name) => ({ node: name, seen: true, path: name === node ? path : null })),
  };
}
