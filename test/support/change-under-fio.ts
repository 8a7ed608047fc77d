import { expect } from "vitest";
import { ChangingArray, type ChangingShape } from "./changing-array.ts";
import { type FioCounts, fioVerify } from "./fio-verify.ts";

const MIB = 1024 * 1024;
const STEP_BYTES = 4 * MIB;
const MOST_BYTES = 16 * MIB;

/**
 * Rounds of changes of the members while fio verifies a part of the array on each of two nodes: pass after pass, so that
 * none of the changes finds the array idle, however fast either is. In the end all copies must be equal, and no bit left.
 */
export async function changeUnderFio(shape: ChangingShape, rounds: number): Promise<void> {
  const array = await ChangingArray.start(shape);
  try {
    const { sizeBytes } = await array.detail("n1");
    const half = Math.floor(sizeBytes / 2 / STEP_BYTES) * STEP_BYTES;
    const bytes = Math.min(half, MOST_BYTES);
    let changing = true;
    const passes: FioCounts[] = [];
    const verify = async (node: "n1" | "n2", offset: number): Promise<void> => {
      const uri = await array.uri(node);
      do passes.push(await fioVerify({ uri, offset, bytes }, passes.length));
      while (changing);
    };
    const change = async (): Promise<void> => {
      for (let round = 0; round < rounds; round++) await array.changeMembers();
    };
    const changes = change().finally(() => {
      changing = false;
    });
    await Promise.all([verify("n1", 0), verify("n2", half), changes]);
    for (const kind of ["reads", "writes", "trims", "syncs"] as const)
      expect(Math.min(...passes.map((counts) => counts[kind])), kind).toBeGreaterThan(0);
    expect(await array.judge()).toEqual([]);
  } finally {
    await array.close();
  }
}
