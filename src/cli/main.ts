import { processWorld } from "./process-world.ts";
import { runCommandLine } from "./run-command-line.ts";

/** The entry of `mdctl`. Ends the process once everything that was printed has been taken. */
export async function main(argv: readonly string[]): Promise<void> {
  // A reader that goes away (`mdctl events | head`) is no failure of ours.
  process.stdout.on("error", (error: NodeJS.ErrnoException) => process.exit(error.code === "EPIPE" ? 0 : 1));
  const exitCode = await runCommandLine(argv, processWorld);
  process.stdout.write("", () => process.exit(exitCode));
}
