import { describe, expect, it } from "vitest";
import { sector } from "../../src/base/units.ts";
import { NbdServer } from "../../src/blockdev/nbd/nbd-server.ts";
import { FakeRing } from "../support/fake-ring.ts";
import { MemorySink } from "../support/memory-sink.ts";

const ARENA_BYTES = 8 * 1024 * 1024;
const [EMFILE, ECONNABORTED] = [24, 103];

class ListeningRing extends FakeRing {
  accepts = 0;
  override listen(): number {
    return 0;
  }
  override accept(): void {
    this.accepts++;
  }
}

function listening() {
  const ring = new ListeningRing(ARENA_BYTES);
  const clock = { time: 1000, now: () => clock.time };
  const seat = { ring, sink: new MemorySink(ring.arena, sector(8) * 512, {}), arenaAt: 0, arenaBytes: ARENA_BYTES };
  const address = { type: "unix", path: "/nowhere" } as const;
  const server = new NbdServer(
    { ...seat, tagBase: 0 },
    { address, exportName: "x", readOnly: false, multiConn: true },
    clock,
  );
  return { ring, clock, server };
}

describe("accepting", () => {
  it("asks for a turn when it was refused for want of descriptors, and is tried again in it", () => {
    const { ring, clock, server } = listening();
    expect([ring.accepts, server.wantsTurnIn()]).toEqual([1, Number.POSITIVE_INFINITY]);
    server.ringCompletion(0, -EMFILE);
    server.endTurn();
    expect([ring.accepts, server.wantsTurnIn()]).toEqual([1, 100]);
    clock.time += 60;
    server.endTurn();
    expect([ring.accepts, server.wantsTurnIn()]).toEqual([1, 40]);
    clock.time += 40;
    expect(server.wantsTurnIn()).toBe(0);
    server.endTurn();
    expect([ring.accepts, server.wantsTurnIn()]).toEqual([2, Number.POSITIVE_INFINITY]);
  });

  it("goes on at once when it was the client that had gone", () => {
    const { ring, server } = listening();
    server.ringCompletion(0, -ECONNABORTED);
    expect([ring.accepts, server.wantsTurnIn()]).toEqual([2, Number.POSITIVE_INFINITY]);
  });

  it("asks for nothing once the server is drained", () => {
    const { server } = listening();
    server.ringCompletion(0, -EMFILE);
    expect(server.drain()).toBe(true);
    expect(server.wantsTurnIn()).toBe(Number.POSITIVE_INFINITY);
  });
});
