import { spawn } from "node:child_process";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";

const program = fileURLToPath(new URL("../../../bin/mdctl.mjs", import.meta.url));

/** `share-0` begins with seed 0, the next one with 500. */
const APART = 500;
/** Seeds of a file. */
const SHARE = 50;
const PER_TEST = 50;

/** As somebody would run them by hand: a failure says which seed it is, how it goes when shrunk, and how to see it again. */
async function simulate(
  first: number,
  count: number,
): Promise<{ readonly status: number | null; readonly said: string }> {
  const words = [`--first-seed=${first}`, `--seeds=${count}`, "--faults=all", "--workers=1"];
  const child = spawn(process.execPath, [program, "simulate", ...words], { stdio: ["ignore", "pipe", "pipe"] });
  const ended = new Promise<number | null>((resolve) => child.on("close", resolve));
  const [out, errors] = await Promise.all([text(child.stdout), text(child.stderr)]);
  return { status: await ended, said: out.replaceAll(/^seed \d+: ok.*\n/gm, "") + errors };
}

/**
 * Always the same seeds: what a change breaks shows, and nothing else. One file a share, so that all of vitest's workers
 * have some. In a process of their own they run faster than among vitest's modules.
 */
export function testShare(share: number): void {
  describe("a simulated cluster is whole again after any mix of all faults", () => {
    const first = share * APART;
    for (let at = first; at < first + SHARE; at += PER_TEST) {
      it(`with seeds ${at} to ${at + PER_TEST - 1}`, { timeout: 600_000 }, async () => {
        expect(await simulate(at, PER_TEST)).toEqual({ status: 0, said: "" });
      });
    }
  });
}
