import { type BadBlocksExamination, badBlocksText, examineBadBlocks } from "../../array/examine-bad-blocks.ts";
import { MdError } from "../../base/md-error.ts";
import { openFileDevice } from "../../blockdev/file-device.ts";
import type { Command } from "../command.ts";
import { newMemberPath } from "./member-path.ts";

/** Reads members or images directly: no daemon is asked. */
export const examineBadBlocksCommand: Command = async (invocation, context) => {
  const { operands } = invocation;
  if (operands.length === 0)
    throw new MdError("E_USAGE", "no devices are given", { hint: "mdctl examine-badblocks DEVICE" });
  const members: BadBlocksExamination[] = [];
  for (const path of operands) members.push(await examineOne(newMemberPath(path, context.cwd), path));
  const lines = members.flatMap(badBlocksText);
  return { data: { members }, text: lines.map((line) => `${line}\n`).join("") };
};

/** As it was named. */
async function examineOne(path: string, as: string): Promise<BadBlocksExamination> {
  const device = await openFileDevice(path, { readOnly: true });
  try {
    return { ...(await examineBadBlocks(device)), path: as };
  } finally {
    await device.close();
  }
}
