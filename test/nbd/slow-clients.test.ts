import { beforeEach, describe, expect, it } from "vitest";
import { SlowClients } from "../../src/blockdev/nbd/slow-clients.ts";

const NEVER = Number.POSITIVE_INFINITY;

describe("SlowClients", () => {
  let now: number;
  let told: string[];
  const requests = { crowded: false };
  const client = (name: string, starvedSince: number, stuckSince: number) => ({
    starvedSince,
    stuckSince,
    giveBackData: () => told.push(`${name} gives back`),
    close: () => told.push(`${name} is dropped`),
  });
  const slowClients = (...clients: readonly ReturnType<typeof client>[]) =>
    new SlowClients(clients, requests, () => now);
  const look = (slow: SlowClients, at: number): readonly string[] => {
    now = at;
    told = [];
    if (slow.due()) slow.makeRoom((index) => told.push(`${index} is closed`));
    return told;
  };

  beforeEach(() => {
    now = 0;
    told = [];
    requests.crowded = true;
  });

  it("lets clients take their time while nobody waits", () => {
    const slow = slowClients(client("slow", NEVER, 0));
    expect(look(slow, 100_000)).toEqual([]);
    expect(slow.wantsTurnIn()).toBe(NEVER);
    expect(requests.crowded).toBe(false);
  });

  it("takes their data after a second in which another waited and they did not move", () => {
    const slow = slowClients(client("slow", NEVER, 100), client("moves", NEVER, 1900), client("waits", 1000, NEVER));
    expect(look(slow, 1000)).toEqual([]);
    expect(slow.wantsTurnIn()).toBe(1000);
    expect(look(slow, 2000)).toEqual(["slow gives back"]);
    expect(look(slow, 2001)).toEqual([]);
    expect(slow.wantsTurnIn()).toBe(999);
  });

  it("drops one that has not moved for half a minute while another waited", () => {
    const slow = slowClients(client("slow", NEVER, 0), client("waits", 1000, NEVER));
    expect(look(slow, 30_999)).toEqual(["slow gives back"]);
    expect(look(slow, 32_000)).toEqual(["slow gives back", "slow is dropped", "0 is closed"]);
  });
});
