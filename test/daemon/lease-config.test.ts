import { describe, expect, it } from "vitest";
import { readLease } from "../../src/daemon/lease-config.ts";

const read = (lease: string | null, ping: string | null, lost: string | null) => {
  const { leaseMs, pingMs } = readLease({ lease, ping, lost });
  return [leaseMs, pingMs];
};

describe("the lease, as configured", () => {
  it.each([
    [null, null, null, 10_000, 800],
    ["2s", null, null, 2000, 160],
    ["1s", null, null, 1000, 100],
    ["5m", null, null, 300_000, 10_000],
    [null, "100ms", null, 1000, 100],
    [null, "10s", null, 100_000, 10_000],
    [null, "10s", "10", 100_000, 10_000],
    [null, null, "5", 5000, 1000],
    ["10s", null, "20", 10_000, 500],
    ["10s", "2s", null, 10_000, 2000],
    ["10s", "500ms", "20", 10_000, 500],
  ])("lease %s, ping %s, lost %s: %i ms, a ping every %i ms", (lease, ping, lost, leaseMs, pingMs) => {
    expect(read(lease, ping, lost)).toEqual([leaseMs, pingMs]);
  });

  it.each([
    ["900ms", null, null, "ping: 90 ms is not between 100 ms and 10000 ms"],
    [null, "50ms", null, "ping: 50 ms is not between"],
    [null, "11s", null, "ping: 11000 ms is not between"],
    [null, "1s", "4", "lost: it takes 5 to 100 pings"],
    [null, "1s", "101", "lost: it takes 5 to 100 pings"],
    [null, "1s", "0", "lost: it takes 5 to 100 pings"],
    [null, "1s", "ten", 'lost: "ten" is not a number of pings'],
    ["10s", "3s", null, "lost: it takes 5 to 100 pings"],
    ["10s", "1s", "5", "lease: 10000 ms is not what ping and lost say"],
    ["20m", null, null, "lost: it takes 5 to 100 pings"],
  ])("refuses lease %s, ping %s, lost %s", (lease, ping, lost, message) => {
    expect(() => read(lease, ping, lost)).toThrow(message);
  });
});
