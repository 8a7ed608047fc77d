import { MdError } from "../../base/md-error.ts";
import type { Command, CommandContext } from "../command.ts";
import { type Asked, namesOf } from "../completion/live-names.ts";
import { isShell, scriptFor } from "../completion/shell-scripts.ts";
import { wantedAt } from "../completion/wanted.ts";

/** Who waits for a key to do something waits no longer for a daemon. */
const DAEMON_MS = 300;

/** The script of a shell; with the words of a command line, what may stand in place of the last one. */
export const completion: Command = async ({ operands }, context) => {
  const [shell = "", ...words] = operands;
  if (!isShell(shell)) {
    const what = shell === "" ? "completion needs a shell" : `there is no completion for ${shell}`;
    throw new MdError("E_USAGE", `${what}: bash, zsh or fish`, { hint: "source <(mdctl completion bash)" });
  }
  if (words.length === 0) {
    const script = scriptFor(shell);
    return { data: { shell, script }, text: script };
  }
  const candidates = await candidatesFor(words.slice(0, -1), words.at(-1) ?? "", context);
  return { data: { shell, candidates }, text: candidates.map((word) => `${word}\n`).join("") };
};

/** Sorted, each begins with `current`. */
async function candidatesFor(before: readonly string[], current: string, context: CommandContext): Promise<string[]> {
  const { words, names, prefix } = wantedAt(before, current);
  const isLive = names.some((kind) => kind !== "file");
  const live = await namesOf(names, before, isLive ? await ask(context) : null);
  return [...words, ...live]
    .map((word) => `${prefix}${word}`)
    .filter((word) => word.startsWith(current))
    .sort();
}

async function ask(context: CommandContext): Promise<Asked> {
  try {
    return (await context.request("status", {}, { signal: AbortSignal.timeout(DAEMON_MS) })).data;
  } catch {
    return null;
  }
}
