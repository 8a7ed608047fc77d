import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { LockMaster } from "../../src/dlm/lock-master.ts";
import { VectorRunner } from "../support/lock-vector-runner.ts";
import { lockVectors } from "../support/lock-vectors.ts";

/** What every lock server must do. `open` gives a server that no other test uses. */
export function lockMasterConformance(
  kind: string,
  open: () => Promise<{ master: LockMaster; close: () => Promise<void> }>,
): void {
  describe(`lock master: ${kind}`, () => {
    let master: LockMaster;
    let close: () => Promise<void>;
    beforeAll(async () => {
      ({ master, close } = await open());
    });
    afterAll(() => close());

    it.each(lockVectors)("answers vector %s", async (id, steps) => {
      const runner = new VectorRunner(master, { cluster: "alpha", name: `vector-${id}` });
      const answers: string[] = [];
      for (const step of steps) answers.push(await runner.run(step));
      expect(answers).toEqual(steps);
    });
  });
}
