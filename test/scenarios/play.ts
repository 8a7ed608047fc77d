import { expect } from "vitest";
import type { Stage } from "./stage.ts";
import type { Part, Scenario } from "./steps.ts";

/**
 * Plays one part to its end and closes the stage. Returns its transcript. Rejects with the step that went wrong. No step is
 * begun after `signal`.
 */
export async function playPart({ title, steps, provoked }: Part, stage: Stage, signal?: AbortSignal): Promise<string> {
  const lines: string[] = [`## ${title}`];
  try {
    for (const [at, step] of steps.entries()) {
      const told: string[] = [];
      signal?.throwIfAborted();
      try {
        await step.run(stage, (line) => told.push(line));
      } catch (error) {
        throw new Error(`step ${at + 1}, ${step.text}: ${error instanceof Error ? error.message : String(error)}`, {
          cause: error,
        });
      }
      lines.push("", step.text, "----", ...stage.story(), ...told);
    }
    expect(stage.complaints(provoked), "complaints in the nodes' logs").toEqual([]);
    return lines.join("\n");
  } finally {
    await stage.close();
  }
}

export const transcriptOf = ({ name }: Scenario, parts: readonly string[]): string =>
  `# ${name}\n\n${parts.join("\n\n")}\n`;
