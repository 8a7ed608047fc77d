import { MdError } from "../../base/md-error.ts";
import type { WipedMember } from "../../daemon/control-api.ts";
import type { Command, CommandContext } from "../command.ts";
import { newMemberPath } from "./member-path.ts";

/** Makes members into devices that belong to nothing, when the name of their array was typed. */
export const zeroSuperblock: Command = async (invocation, context) => {
  const { operands } = invocation;
  if (operands.length === 0) {
    throw new MdError("E_USAGE", "no devices are given", { hint: "mdctl zero-superblock --help" });
  }
  const params = {
    members: operands.map((path) => newMemberPath(path, context.cwd)),
    fileMembers: invocation.has("file-members"),
    force: invocation.has("force"),
  };
  const { data: found } = await context.request("zeroSuperblock", { ...params, dryRun: true });
  const written = found.members.filter(({ wiped }) => wiped.length > 0);
  if (written.length === 0 || invocation.has("dry-run")) {
    tell(found.members, "would be wiped", context);
    return { data: found, text: "" };
  }
  const paths = written.map(({ path }) => path).join(" ");
  const what = `making ${paths} forget that it is part of an array`;
  await context.confirm(oneName(written), what, `mdctl zero-superblock ${paths}`);
  const { data } = await context.request("zeroSuperblock", { ...params, dryRun: false });
  tell(data.members, "wiped", context);
  return { data, text: "" };
};

/** What has to be typed: the array; where nobody knows it, the device. */
function oneName(members: readonly WipedMember[]): string {
  const [name = "", other] = new Set(members.map(({ array, path }) => array ?? path));
  if (other === undefined) return name;
  throw new MdError("E_USAGE", `${name} and ${other} are different arrays: one at a time`);
}

function tell(members: readonly WipedMember[], done: string, context: CommandContext): void {
  for (const { path, wiped } of members) {
    context.note(wiped.length === 0 ? `${path}: nothing to wipe` : `${path}: ${wiped.join(", ")} ${done}`);
  }
}
