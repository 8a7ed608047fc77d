import { describe, expect, it } from "vitest";
import { RequestOp } from "../../src/blockdev/front-end.ts";
import { EngineBench, isBitmap, isData, isWrite } from "../support/engine-bench.ts";

const held = (bench: EngineBench): number => bench.notices.filter(({ type }) => type === "writesHeld").length;

describe("writes that are held", () => {
  it("go nowhere until they are let in: no bit, no data; it is told of once, and reads and flushes pass", async () => {
    const bench = new EngineBench({ holdsWrites: true });
    const from = bench.ring.log.length;
    const write = bench.write(0, 8, 1);
    const zeroes = bench.submit(RequestOp.zero, 64, 8, 0, 0);
    const [read, flush] = [bench.read(0, 8), bench.flush()];
    bench.run();
    expect([read.errno, flush.errno, write.errno, zeroes.errno]).toEqual([0, 0, null, null]);
    expect(bench.ring.log.slice(from).filter((op) => isWrite(op) || isBitmap(op))).toEqual([]);
    expect(held(bench)).toBe(1);

    await bench.send({ type: "admitWrites", errno: 0 });
    expect([write.errno, zeroes.errno]).toEqual([0, 0]);
    expect(bench.content("d1", 0, 1)[0]).toBe(1);
    const later = bench.write(8, 8, 2);
    bench.run();
    expect([later.errno, held(bench)]).toEqual([0, 1]);
  });

  it("are answered with the errno instead, and what comes then waits again, and is told of again", async () => {
    const bench = new EngineBench({ holdsWrites: true });
    const from = bench.ring.log.length;
    const write = bench.write(0, 8, 1);
    bench.run();
    await bench.send({ type: "admitWrites", errno: 30 });
    expect(write.errno).toBe(30);
    const next = bench.write(0, 8, 1);
    bench.run();
    expect([next.errno, held(bench)]).toEqual([null, 2]);
    expect(bench.ring.log.slice(from).filter(isData)).toEqual([]);
  });

  it("begin to be held when none is there, not while one is on its way", async () => {
    const bench = new EngineBench();
    bench.ring.hold(isWrite);
    const write = bench.write(0, 8, 1);
    bench.run();
    expect((await bench.send({ type: "holdWrites" })).answer).toEqual({ type: "held", held: false });
    bench.ring.release();
    bench.run();
    expect(write.errno).toBe(0);
    expect((await bench.send({ type: "holdWrites" })).answer).toEqual({ type: "held", held: true });
    const next = bench.write(0, 8, 2);
    bench.run();
    expect([next.errno, bench.content("d0", 0, 1)[0], held(bench)]).toEqual([null, 1, 1]);
  });

  it("are taken back when nobody waits for them any more, and refused when the engine stops", async () => {
    const bench = new EngineBench({ holdsWrites: true });
    const write = bench.write(0, 8, 1);
    bench.run();
    bench.cancel();
    bench.run();
    expect(write.errno).toBe(108);
    const next = bench.write(0, 8, 1);
    bench.run();
    const stopped = await bench.send({ type: "stop" });
    expect([next.errno, stopped.answer]).toEqual([108, { type: "none" }]);
    expect(bench.content("d0", 0, 1)[0]).toBe(0);
  });
});
