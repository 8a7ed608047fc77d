import { beforeEach, describe, expect, it } from "vitest";
import { slotNumber } from "../../src/base/units.ts";
import { awaitEviction, type EvictionSpace, type EvictionWorld, evictVouched } from "../../src/daemon/eviction.ts";
import type { MemberStatus } from "../../src/dlm/lockspace-status.ts";
import { frozen } from "../support/array-info.ts";
import { FakeClock } from "../support/fake-clock.ts";

const LEASE = 10_000;
const PING = 1000;
const never = new AbortController().signal;

/** One array's lockspace with n3 in it, which renews until `stopsAt`; we look at it once a ping. */
class World implements EvictionWorld {
  readonly clock = new FakeClock();
  stopsAt = Number.POSITIVE_INFINITY;
  fencing: MemberStatus["fencing"] = null;
  isMember = true;
  isLost = false;
  readonly evicted: string[] = [];

  lost = () => (this.isLost ? frozen : null);

  spaces(): readonly EvictionSpace[] {
    const now = this.clock.now();
    const asOf = Math.floor(now / PING) * PING;
    // Its renewals are between our looks: one is seen with the look after it.
    const renewed = Math.min(asOf, this.stopsAt);
    const seenAt = Math.ceil((Math.floor((renewed - 500) / PING) * PING + 500) / PING) * PING;
    const n3 = { node: "n3", slot: slotNumber(2), seenAt, deadAt: seenAt + LEASE, fencing: this.fencing };
    const status = {
      epoch: 1,
      generation: 3,
      leaseMs: LEASE,
      renewedAt: asOf,
      roundTripMs: 1,
      writeUntil: 0,
      readUntil: 0,
      members: this.isMember ? [n3] : [],
    };
    const evict = async (): Promise<void> => {
      this.evicted.push(`n3 at ${this.clock.now()}`);
      this.isMember = false;
    };
    return [{ array: "md0", status, evict }];
  }
}

describe("evicting a node", () => {
  let world: World;
  const outcome = async (asked: Promise<unknown>): Promise<unknown> => {
    let result: unknown = "waits";
    asked.then(
      (value) => {
        result = value;
      },
      (error: { code: string; message: string }) => {
        result = `${error.code} ${error.message}`;
      },
    );
    for (let n = 0; n < 200 && result === "waits"; n++) await world.clock.advance(100);
    return result;
  };

  beforeEach(async () => {
    world = new World();
    await world.clock.advance(20_000);
  });

  it("that is known to be silent is done at once on an operator's word", async () => {
    world.stopsAt = 12_000;
    expect(await outcome(evictVouched(world, "n3", never))).toEqual([{ array: "md0", slot: 2 }]);
    expect(world.evicted).toEqual(["n3 at 20000"]);
  });

  it("that stopped just before waits until it has been silent for half a lease, and is not taken for alive", async () => {
    // Its last renewal, at 20,500, is seen with our look at 21,000, after it was asked for.
    world.stopsAt = 20_600;
    await world.clock.advance(700);
    expect(await outcome(evictVouched(world, "n3", never))).toEqual([{ array: "md0", slot: 2 }]);
    const [at] = world.evicted;
    expect(Number(at?.split(" ").at(-1))).toBeGreaterThanOrEqual(21_000 + LEASE / 2);
  });

  it("that renews is refused, on anybody's word", async () => {
    for (const evict of [evictVouched, awaitEviction]) {
      expect(await outcome(evict(world, "n3", never))).toMatch(/^E_NODE_ALIVE n3 is alive: it renewed its lease /);
    }
    expect(world.evicted).toEqual([]);
  });

  it("that is being fenced is done at once: this is how a fencing that fails is acknowledged", async () => {
    world.fencing = { by: "n1", tries: 3 };
    world.stopsAt = 19_999;
    await outcome(evictVouched(world, "n3", never));
    expect(world.evicted).toEqual(["n3 at 20000"]);
  });

  it("without an operator's word waits until others have removed it, and evicts nobody itself", async () => {
    world.stopsAt = 19_999;
    const asked = outcome(awaitEviction(world, "n3", never));
    world.clock.after(8000, () => {
      world.isMember = false;
    });
    expect(await asked).toEqual([{ array: "md0", slot: 2 }]);
    expect(world.evicted).toEqual([]);
  });

  it("is given up when the lock service is lost, or nobody waits for it any more", async () => {
    world.stopsAt = 19_999;
    world.isLost = true;
    expect(await outcome(awaitEviction(world, "n3", never))).toMatch(/^E_LOCK_SERVICE_LOST lock service redis/);
    world.isLost = false;
    expect(await outcome(awaitEviction(world, "n3", AbortSignal.abort()))).toMatch(/^E_CANCELLED/);
  });

  it("that is no member of anything is done", async () => {
    expect(await evictVouched(world, "n9", never)).toEqual([]);
    expect(await awaitEviction(world, "n9", never)).toEqual([]);
  });
});
