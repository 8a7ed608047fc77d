import { expect, it } from "vitest";
import { MdError } from "../../src/base/md-error.ts";
import { sectorRange } from "../../src/base/units.ts";
import { OwnWindow } from "../../src/cluster/own-window.ts";
import type { SlotLocks } from "../../src/cluster/slot-locks.ts";
import type { ResyncWindow } from "../../src/messages/resync-window-codec.ts";

/** A value block whose writes succeed or fail one by one. */
function windowOf(results: boolean[]): { readonly window: OwnWindow; readonly written: ResyncWindow[] } {
  const written: ResyncWindow[] = [];
  const publish = async (said: ResyncWindow): Promise<void> => {
    const isWritten = results.shift() ?? true;
    if (!isWritten) throw new MdError("E_LOCK_SERVICE_LOST", "the lock server does not answer");
    written.push(said);
  };
  return { window: new OwnWindow({ publish } as unknown as SlotLocks), written };
}

it("says what it said once only", async () => {
  const { window, written } = windowOf([]);
  await window.show(sectorRange(0, 8));
  await window.show(sectorRange(0, 8));
  expect(written).toHaveLength(1);
});

it("says again what may not have reached the others, also what they were told before that", async () => {
  const { window, written } = windowOf([true, false, true]);
  await window.show(null);
  await expect(window.show(sectorRange(0, 8))).rejects.toThrow("does not answer");
  // It may stand there all the same.
  await window.show(null);
  expect(written.map(({ range }) => range)).toEqual([null, null]);
  await window.show(sectorRange(0, 8));
  expect(written.at(-1)?.range).toEqual({ lo: 0, hi: 8 });
});

it("takes what is on its way for unsaid until the last of it has arrived", async () => {
  const { window, written } = windowOf([]);
  await Promise.all([window.show(sectorRange(0, 8)), window.show(null)]);
  await window.show(sectorRange(0, 8));
  expect(written.map(({ range }) => range)).toEqual([{ lo: 0, hi: 8 }, null, { lo: 0, hi: 8 }]);
});
