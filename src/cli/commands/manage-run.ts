import { assert } from "../../base/assert.ts";
import { MdError } from "../../base/md-error.ts";
import type { ManageData, ManageOp, ManageOpName } from "../../daemon/control-api.ts";
import { errorOf } from "../../daemon/control-client.ts";
import type { CommandContext, CommandResult } from "../command.ts";
import type { Invocation } from "../invocation.ts";
import { type ManageStep, type ManageSteps, pairSpares } from "../manage-operations.ts";
import { memberPath, newMemberPath } from "./member-path.ts";

const words: Record<ManageOpName, readonly [string, string]> = {
  add: ["added", "to"],
  "re-add": ["re-added", "to"],
  "add-spare": ["added", "to"],
  fail: ["set faulty", "in"],
  remove: ["hot removed", "from"],
  replace: ["replaced", "in"],
  "cluster-confirm": ["confirmed", "for"],
};
const EXIT_UNCHANGED = 2;

/** Has the daemon carry the steps out, and tells of each as mdadm does. */
export async function runSteps(
  read: ManageSteps,
  invocation: Invocation,
  context: CommandContext,
): Promise<CommandResult> {
  const { array, steps } = await resolved(read, context);
  assert(
    steps.length + (array === null ? 0 : 1) === invocation.operands.length,
    "every operand is the array or a member",
  );
  const ops = pairSpares(steps).map((step): ManageOp => {
    const flags = marking.has(step.op) && step.flags.length > 0 ? { flags: step.flags } : {};
    const op = { op: operationOf(step), member: pathOf(step, context.cwd), ...flags };
    return step.with === null ? op : { ...op, with: memberPath(step.with, context.cwd) };
  });
  const { data } = await context.request("manage", { array, ops });
  for (const op of data.ops) if (op.result === "done") for (const line of doneText(op, data.array)) context.note(line);
  const failed = data.ops.find(({ result }) => result === "failed");
  if (failed?.error != null) throw failure(data, errorOf(failed.error));
  const unchanged = data.changes.length === 0;
  return { data, text: "", exitCode: invocation.has("test") && unchanged ? EXIT_UNCHANGED : 0 };
}

/** As mdadm says it. */
function doneText({ op, member, as, number, by }: ManageData["ops"][number], array: string): readonly string[] {
  if (op === "replace" && by !== null) {
    const spare = by.path ?? `device ${by.number}`;
    return [
      `Marked ${member} (device ${number} in ${array}) for replacement`,
      `Marked ${spare} in ${array} as replacement for device ${number}`,
    ];
  }
  const [verb, where] = words[as === "re-add" ? as : op];
  return [`${verb} ${member} ${where} ${array}`];
}

/** A plain word in front of the members is the array if the daemon knows one of that name. */
async function resolved(read: ManageSteps, context: CommandContext): Promise<ManageSteps> {
  if (read.ambiguous === null) return read;
  const { data } = await context.request("status", {});
  if (!data.arrays.some(({ name }) => name === read.ambiguous)) return read;
  return { array: read.ambiguous, ambiguous: null, steps: read.steps.slice(1) };
}

/** Operations that take flags; what is said of others' members is passed over, as by mdadm, unless it marks one. */
const marking: ReadonlySet<string> = new Set(["add", "re-add", "add-spare"]);

function operationOf({ op, flags, member }: ManageStep): ManageOpName {
  if (!marking.has(op) && (flags.includes("write-mostly") || flags.includes("failfast"))) {
    throw new MdError("E_USAGE", `${flags.join(", ")} is possible with create, add and re-add only: ${member}`);
  }
  if (op in words) return op as ManageOpName;
  throw new MdError("E_USAGE", `${op} is not available in this version`);
}

function pathOf({ op, member }: ManageStep, cwd: string): string {
  if (op === "add" || op === "add-spare") return newMemberPath(member, cwd);
  const [, number, device] = op === "cluster-confirm" ? (/^(\d+):(.+)$/.exec(member) ?? []) : [];
  if (device !== undefined) return `${number}:${memberPath(device, cwd)}`;
  return memberPath(member, cwd);
}

/** Code 8 when something was done before; the error itself when nothing was. */
function failure(data: ManageData, error: MdError): MdError {
  const { code, message, why, hint, details } = error;
  const done = data.ops.filter(({ result }) => result === "done").length;
  const options = { ...(why === null ? {} : { why }), ...(hint === null ? {} : { hint }) };
  if (done === 0) return new MdError(code, message, { ...options, details: { ...details, data } });
  return new MdError("E_PARTIAL", `${message} (${done} of ${data.ops.length} operations were done before)`, {
    ...options,
    details: { ...details, data },
  });
}
