import { examine } from "../../array/examine.ts";
import { MdError } from "../../base/md-error.ts";
import { openFileDevice } from "../../blockdev/file-device.ts";
import { isActiveRole, roleOf } from "../../superblock/superblock.ts";
import { mdUuidText } from "../../superblock/uuid.ts";
import { isArrayDesignator } from "../array-designator.ts";
import type { Command, CommandResult } from "../command.ts";
import { verbNamed } from "../options/verbs.ts";
import { safeText } from "../render/safe-text.ts";
import { sizeText } from "../render/size-text.ts";
import { newMemberPath } from "./member-path.ts";

/** One or two sentences: is it an array, is it a member. */
export const query: Command = async (invocation, context) => {
  const spec = verbNamed("query");
  const [target = ""] = spec === null ? invocation.operands : invocation.mustHave(spec, 1, 1);
  if (isArrayDesignator(target)) {
    const { data } = await context.request("detail", { array: target });
    const { name, level, raidDevices, sizeBytes, state } = data.array;
    const text = `${target}: ${sizeText(sizeBytes)} ${level} ${raidDevices} devices, ${state}, assembled as ${name}.\n`;
    return { data: { isArray: true, isMember: false, array: name }, text };
  }
  return queryDevice(target, newMemberPath(target, context.cwd));
};

async function queryDevice(shown: string, path: string): Promise<CommandResult> {
  const device = await openFileDevice(path, { readOnly: true });
  try {
    const { superblock } = await examine(device);
    const role = roleOf(superblock, superblock.devNumber);
    const place = isActiveRole(role) ? `device ${role} in ${superblock.raidDisks} device` : "spare or former device of";
    const name = safeText(superblock.setName);
    const text = `${shown}: is not an md array\n${shown}: ${place} raid${superblock.level} array "${name}". Use mdctl --examine for more detail.\n`;
    return { data: { isArray: false, isMember: true, array: mdUuidText(superblock.setUuid) }, text };
  } catch (error) {
    if (!(error instanceof MdError) || error.code !== "E_NO_SUPERBLOCK") throw error;
    return {
      data: { isArray: false, isMember: false, array: null },
      text: `${shown}: is not an md array\n${shown}: no md superblock found\n`,
    };
  } finally {
    await device.close();
  }
}
