import { describe, expect, it } from "vitest";
import { MdError } from "../../src/base/md-error.ts";
import { slotNumber } from "../../src/base/units.ts";
import { silentLogger } from "../../src/env/logger.ts";
import { PillFencer } from "../../src/fencing/pill-fencer.ts";
import { FakeClock } from "../support/fake-clock.ts";
import { fenceAttempt } from "../support/fence-attempt.ts";
import { SeededRandom } from "../support/seeded-random.ts";

const victim = { node: "n2", slot: slotNumber(1), incarnation: "b1", generation: 3 };

describe("fencing by pill", () => {
  const clock = new FakeClock();
  const env = { clock, random: new SeededRandom(1), log: silentLogger };
  const fencer = (condemn: () => Promise<void>, watchdogMs: number | null): PillFencer =>
    new PillFencer({ condemn, watchdogMs, leaseMs: 1000, env });

  it("waits twice the watchdog's time after the pill is on the members", async () => {
    let written = false;
    const pill = fencer(async () => {
      written = true;
    }, 5000);
    let outcome: unknown = null;
    void pill.fence(victim, fenceAttempt()).then((done) => {
      outcome = done;
    });
    await clock.advance(9900);
    expect(written).toBe(true);
    expect(outcome).toBeNull();
    await clock.advance(200);
    expect(outcome).toMatchObject({ ok: true, evidence: "pill for n2 on the members since 10 s ago" });
    expect(pill.timeoutMs).toBeGreaterThan(10_000);
    expect(pill.about).toBe("pill with a watchdog of 5 s");
  });

  it("calls itself advisory where nothing makes the victim read it", async () => {
    const pill = fencer(async () => {}, null);
    expect(pill.about).toBe("pill (advisory)");
    const fenced = pill.fence(victim, fenceAttempt());
    await clock.advance(1000);
    expect((await fenced).evidence).toContain("nothing but its lease made sure that it was read");
  });

  it("has not succeeded when it is given up before that time has passed", async () => {
    const attempt = fenceAttempt();
    const fenced = fencer(async () => {}, 5000).fence(victim, attempt);
    await clock.advance(9000);
    attempt.end();
    expect(await fenced).toMatchObject({ ok: false });
  });

  it("fails when a member does not take the pill", async () => {
    const failing = fencer(() => Promise.reject(new MdError("E_IO", "no member can be written")), 5000);
    expect(await failing.fence(victim, fenceAttempt())).toEqual({
      ok: false,
      evidence: "pill: no member can be written",
    });
  });
});
