import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { playPart, transcriptOf } from "./play.ts";
import { scenarios } from "./rows/all.ts";
import { SimStage } from "./sim-stage.ts";

/** MDCTL_TRANSCRIPTS=write npx vitest run test/scenarios/simulated.test.ts accepts what the nodes do now. */
const accept = process.env["MDCTL_TRANSCRIPTS"] === "write";
const folder = new URL("../transcripts/", import.meta.url);

describe("the peer's scenarios in the simulator", () => {
  it.each(scenarios)("$name", { timeout: 300_000 }, async (scenario) => {
    const parts: string[] = [];
    for (const part of scenario.parts) parts.push(await playPart(part, new SimStage()));
    const transcript = transcriptOf(scenario, parts);
    const path = fileURLToPath(new URL(`${scenario.name}.txt`, folder));
    if (accept || !existsSync(path)) {
      mkdirSync(folder, { recursive: true });
      writeFileSync(path, transcript);
    }
    expect(transcript).toBe(readFileSync(path, "utf8"));
  });
});
