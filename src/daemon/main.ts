import { parseArgs } from "node:util";
import { MdError } from "../base/md-error.ts";
import { type DaemonSettings, daemonOptions } from "./daemon-options.ts";
import { exitWith, runDaemon } from "./run-daemon.ts";
import { programVersion } from "./version.ts";

/** The entry of `mdctld`. */
export async function main(argv: readonly string[]): Promise<void> {
  try {
    const settings = readArguments(argv);
    if (settings === null) return;
    await runDaemon(settings, process.env);
    process.exit(0);
  } catch (error) {
    exitWith(error, "mdctld", (code) => (code === "E_USAGE" || code === "E_VALUE" ? 2 : code === "E_DAEMON" ? 6 : 1));
  }
}

/** Null when there was only something to print. */
function readArguments(argv: readonly string[]): DaemonSettings | null {
  const options = Object.fromEntries(
    daemonOptions.map(({ name, value }) => [name, { type: value === undefined ? "boolean" : "string" } as const]),
  );
  let values: Record<string, unknown>;
  try {
    values = parseArgs({
      args: [...argv],
      options: {
        ...options,
        help: { type: "boolean", short: "h" },
        version: { type: "boolean", short: "V" },
      },
    }).values;
  } catch (error) {
    throw new MdError("E_USAGE", error instanceof Error ? error.message : String(error), { hint: "mdctld --help" });
  }
  const { help, version, ...given } = values;
  if (version === true) process.stdout.write(`mdctld ${programVersion()}\n`);
  else if (help === true) process.stdout.write(helpText());
  if (version === true || help === true) return null;
  return new Map(Object.entries(given) as [string, string | true][]);
}

function helpText(): string {
  const lines = daemonOptions.map(({ name, value, help }) => {
    const option = value === undefined ? `--${name}` : `--${name}=${value}`;
    return `  ${option.padEnd(36)} ${help}`;
  });
  return `usage: mdctld [OPTION]...\n\nRuns one node of a cluster until it is told to stop (SIGTERM).\n\n${lines.join("\n")}\n`;
}
