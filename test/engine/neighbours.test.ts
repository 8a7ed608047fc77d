import { describe, expect, it } from "vitest";
import { RequestOp } from "../../src/blockdev/front-end.ts";
import { diskName, EngineBench, range, type TestRequest } from "../support/engine-bench.ts";
import { raid10Shape } from "../support/raid10.ts";

/** What other mirrors got wrong in their data plane; test/neighbours.test.ts says where the rest is. */

describe("a resync under writers that never rest", () => {
  it.each([1, 8, 40])("ends: %i of them in the very range that is copied", async (writers) => {
    const bench = new EngineBench({ bits: Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0) });
    const requests: TestRequest[] = Array.from({ length: writers }, (_, i) => bench.write(i, 2, 1));
    let copied = 0;
    const copy = bench.engine.send({ type: "copy", kind: "resync", range: range(0, 64) }).then((answer) => {
      copied = answer.sectors;
    });
    let answered = 0;
    for (let turn = 0; turn < 2000 && copied === 0; turn++) {
      bench.loop.turn();
      for (const [i, { errno }] of requests.entries()) {
        if (errno === null) continue;
        answered++;
        requests[i] = bench.write(i, 2, turn & 0xff);
      }
      if (turn % 8 === 0) await bench.settle();
    }
    expect(copied).toBe(64);
    expect(answered).toBeGreaterThan(writers);
    bench.run();
    await copy;
    expect(bench.content("d1", 0, 64)).toEqual(bench.content("d0", 0, 64));
  });
});

describe("discards that fan out wider than any write", () => {
  it.each([
    ["RAID1 of 9", { disks: 9, queueDepth: 8 }],
    ["RAID10 n2 of 4, every chunk", { disks: 4, queueDepth: 8, shape: raid10Shape("n2", 4, 8, 1024) }],
  ] as const)("as many at once as there may be find room for all their legs: %s", (_, options) => {
    const bench = new EngineBench(options);
    const { size } = bench.config;
    for (let place = 0; place < options.disks; place++)
      bench.content(diskName(place), 0, bench.config.memberSize).fill(9);
    const each = Math.floor(size / 8);
    const requests = Array.from({ length: 8 }, (_, i) => bench.submit(RequestOp.discard, i * each, each, 0, 0));
    bench.run();
    expect(requests.map(({ errno }) => errno)).toEqual(requests.map(() => 0));
    for (let place = 0; place < options.disks; place++) {
      expect(bench.content(diskName(place), 0, 1024).every((byte) => byte === 0)).toBe(true);
    }
  });
});
