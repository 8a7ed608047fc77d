import { MdError } from "../../base/md-error.ts";
import { lockFunctions as readLockFunctions } from "../../daemon/lock-functions.ts";
import type { Command } from "../command.ts";

export const lockFunctions: Command = async ({ operands: [extra] }) => {
  if (extra !== undefined) {
    throw new MdError("E_USAGE", `lock-functions does not take "${extra}"`, { hint: "mdctl lock-functions --help" });
  }
  const { name, text } = readLockFunctions();
  return { data: { name, text }, text };
};
