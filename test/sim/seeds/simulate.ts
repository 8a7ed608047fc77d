import { spawn } from "node:child_process";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";

const program = fileURLToPath(new URL("../../../bin/mdctl.mjs", import.meta.url));

/** As somebody would run them by hand: a failure says which seed it is, how it goes when shrunk, and how to see it again. */
export async function simulate(
  first: number,
  count: number,
): Promise<{ readonly status: number | null; readonly said: string }> {
  const words = [`--first-seed=${first}`, `--seeds=${count}`, "--faults=all", "--workers=1"];
  const child = spawn(process.execPath, [program, "simulate", ...words], { stdio: ["ignore", "pipe", "pipe"] });
  const ended = new Promise<number | null>((resolve) => child.on("close", resolve));
  const [out, errors] = await Promise.all([text(child.stdout), text(child.stderr)]);
  return { status: await ended, said: out.replaceAll(/^seed \d+: ok.*\n/gm, "") + errors };
}
