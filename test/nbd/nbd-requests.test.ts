import { beforeEach, describe, expect, it } from "vitest";
import { BufferPool } from "../../src/blockdev/nbd/buffer-pool.ts";
import { NbdRequests, NO_ROOM, NO_SHARE } from "../../src/blockdev/nbd/nbd-requests.ts";

const PAGE = 4096;
const PAGES = 100;
/** A buffer of so many bytes takes ten pages. */
const BYTES = 9 * PAGE;

describe("buffers of requests", () => {
  let pool: BufferPool;
  let requests: NbdRequests;
  beforeEach(() => {
    pool = new BufferPool(0, PAGES * PAGE);
    requests = new NbdRequests(64, 4, pool, BYTES);
    requests.shareAmong(4);
  });

  const take = (connection: number): number => {
    const request = requests.take(connection, BYTES);
    if (request >= 0) requests.length[request] = BYTES;
    return request;
  };
  const takeAll = (): readonly number[] => {
    const taken: number[] = [];
    for (let connection = 0; connection < 4; connection++) {
      for (let request = take(connection); request >= 0; request = take(connection)) taken.push(request);
    }
    return taken;
  };

  it("leave one connection no more than half, and all together a quarter in reserve", () => {
    const first: number[] = [];
    for (let request = take(0); request >= 0; request = take(0)) first.push(request);
    expect([first.length, take(0)]).toEqual([5, NO_SHARE]);
    expect(takeAll()).toHaveLength(2);
    expect(take(1)).toBe(NO_ROOM);
    expect([pool.freePages, requests.crowded]).toEqual([30, true]);
  });

  it("that a device may still use stay out of it; the reserve is there to go on with", () => {
    const [first = -1, second = -1] = takeAll();
    const before = requests.buffer[first] ?? -1;
    const fresh = requests.keepBuffer(first, true);
    expect([fresh === before, requests.buffer[first] === fresh, pool.freePages]).toEqual([false, true, 20]);
    const given = requests.buffer[second] ?? -1;
    expect(requests.keepBuffer(second, false)).toBe(-1);
    requests.release(second);
    expect(pool.freePages).toBe(20);
    // What was put aside is no longer the connection's, and the reserve is open.
    expect(takeAll()).toHaveLength(2);
    expect(requests.keepBuffer(first, true)).toBe(-1);
    expect(requests.buffer[first]).toBe(fresh);
    requests.giveBack(before);
    requests.giveBack(given);
    expect([pool.freePages, requests.released]).toEqual([20, true]);
    expect(take(2)).toBe(NO_ROOM);
  });

  it("are given up and taken again, while the request keeps its place", () => {
    const request = take(0);
    requests.dropBuffer(request);
    expect([pool.freePages, requests.heldBy(0)]).toEqual([PAGES, 1]);
    expect(requests.takeBufferAgain(request)).toBe(true);
    requests.release(request);
    expect([pool.freePages, requests.used]).toEqual([PAGES, 0]);
  });
});
