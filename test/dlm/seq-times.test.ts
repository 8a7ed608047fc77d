import { describe, expect, it } from "vitest";
import { SeqTimes } from "../../src/dlm/seq-times.ts";

describe("when things happened on a server without a clock", () => {
  it("is when the first answer came that knew of them", () => {
    const times = new SeqTimes();
    times.note(10, 1000);
    times.note(12, 2000);
    times.note(12, 3000);
    times.note(20, 4000);
    expect([11, 12, 13, 20].map((seq) => times.at(seq))).toEqual([2000, 2000, 4000, 4000]);
  });

  it("is not known of what was there before us, nor of what no answer has told yet", () => {
    const times = new SeqTimes();
    expect(times.at(5)).toBeNull();
    times.note(10, 1000);
    times.note(12, 2000);
    expect([5, 10, 13].map((seq) => times.at(seq))).toEqual([null, null, null]);
  });

  it("takes bounded memory, and never says that something was earlier than it was", () => {
    const times = new SeqTimes();
    const last = 200_000;
    for (let seq = 1; seq <= last; seq++) times.note(seq, seq * 10);
    for (const seq of [2000, 25_000, 100_000, 199_000, 199_999]) {
      const late = (times.at(seq) ?? Number.NaN) - seq * 10;
      expect(late, `seq ${seq}`).toBeGreaterThanOrEqual(0);
      expect(late, `seq ${seq}`).toBeLessThanOrEqual((last - seq) * 10 * 0.03);
    }
  });
});
