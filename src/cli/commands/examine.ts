import { type Examination, examine } from "../../array/examine.ts";
import { examineText } from "../../array/examine-text.ts";
import { MdError } from "../../base/md-error.ts";
import { openFileDevice } from "../../blockdev/file-device.ts";
import { mdUuidText } from "../../superblock/uuid.ts";
import type { Command, CommandContext } from "../command.ts";
import { errorText } from "../error-text.ts";
import { exitStatus } from "../exit-status.ts";
import { examinationData } from "../render/examination-data.ts";
import { exportedMember } from "../render/exported.ts";
import { localOffset } from "../render/local-time.ts";
import { safeText } from "../render/safe-text.ts";
import { newMemberPath } from "./member-path.ts";

/** Reads members or images directly: no daemon is asked. */
export const examineCommand: Command = async (invocation, context) => {
  const found = await examineAll(invocation.operands, context);
  const brief = invocation.has("brief") || invocation.has("scan");
  const texts = found.map((one) => (brief ? briefLine(one) : examineText(one, localOffset).join("\n")));
  return {
    data: { members: found.map(examinationData) },
    text: texts.map((text) => `${text}\n`).join(""),
    exported: found.map(exportedMember).join(""),
  };
};

/** One that cannot be examined fails the command; of several, it is told of and the others are shown. */
export async function examineAll(paths: readonly string[], context: CommandContext): Promise<readonly Examination[]> {
  if (paths.length === 0) throw new MdError("E_USAGE", "no devices are given", { hint: "mdctl examine DEVICE" });
  const found: Examination[] = [];
  const errors: MdError[] = [];
  for (const path of paths) {
    try {
      found.push(await examineOne(newMemberPath(path, context.cwd), path));
    } catch (error) {
      if (!(error instanceof MdError)) throw error;
      errors.push(error);
    }
  }
  const [first] = errors;
  if (first === undefined) return found;
  if (found.length === 0) throw first;
  for (const error of errors)
    context.note(
      errorText(error)
        .trimEnd()
        .replace(/^mdctl: /, ""),
    );
  const exitCode = exitStatus(first.code);
  throw new MdError("E_PARTIAL", `${errors.length} of ${paths.length} devices could not be examined`, {
    why: first.message,
    details: { data: { members: found.map(examinationData) }, exitCode },
  });
}

async function examineOne(path: string, shown: string): Promise<Examination> {
  const device = await openFileDevice(path, { readOnly: true });
  try {
    return { ...(await examine(device)), path: shown };
  } finally {
    await device.close();
  }
}

const briefLine = ({ superblock }: Examination): string =>
  `ARRAY /dev/md/${safeText(superblock.setName.slice(superblock.setName.indexOf(":") + 1))}  level=raid${superblock.level} metadata=1.${superblock.minor} num-devices=${superblock.raidDisks} UUID=${mdUuidText(superblock.setUuid)} name=${safeText(superblock.setName)}`;
