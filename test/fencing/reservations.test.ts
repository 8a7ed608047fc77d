import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { slotNumber } from "../../src/base/units.ts";
import { silentLogger } from "../../src/env/logger.ts";
import { realClock, realEnv } from "../../src/env/real-env.ts";
import { ArrayReservations } from "../../src/fencing/array-reservations.ts";
import { reservationKey } from "../../src/fencing/reservation-key.ts";
import { SgPersist } from "../../src/fencing/sg-persist.ts";
import { FakeSgPersist } from "../support/fake-sg-persist.ts";
import { fenceAttempt } from "../support/fence-attempt.ts";
import { tempDir } from "../support/temp-dir.ts";

const LOCKSPACE = "alpha/0a0b";
const key = (slot: number, incarnation: string): string => reservationKey(LOCKSPACE, slotNumber(slot), incarnation);
const victim = { node: "n2", slot: slotNumber(1), incarnation: "b1", generation: 3 };

describe("reservation keys", () => {
  it("tell clusters, slots and lives from each other, and are never 0", () => {
    const keys = ["a/x", "b/x"].flatMap((space) =>
      [0, 1, 63].flatMap((slot) => ["i1", "i2"].map((life) => reservationKey(space, slotNumber(slot), life))),
    );
    expect(new Set(keys).size).toBe(12);
    for (const each of keys) expect(each).toMatch(/^[1-9a-f][0-9a-f]{0,15}$/);
  });
});

describe("persistent reservations", () => {
  let folder: ReturnType<typeof tempDir>;
  let fake: FakeSgPersist;
  let disks: string[];
  beforeEach(() => {
    folder = tempDir("reservations");
    fake = new FakeSgPersist(folder.path);
    disks = ["d0", "d1"].map((name) => join(folder.path, name));
    for (const path of disks) writeFileSync(path, "");
  });
  afterEach(() => {
    fake.remove();
    folder.remove();
  });

  const env = realEnv(silentLogger);
  /** As one host sees them; files count as devices. */
  const on = (host: string): ArrayReservations => {
    fake.as(host);
    return new ArrayReservations({ lockspace: LOCKSPACE, members: () => disks, env, isBlockDevice: () => true });
  };

  it("are there on every member before anything is written, and go when the node leaves", async () => {
    const a = on("hostA");
    await a.join(slotNumber(0), "a1", disks);
    const b = on("hostB");
    await b.join(slotNumber(1), "b1", disks);
    for (const disk of disks) {
      expect(fake.stateOf(disk)).toEqual({
        registered: { hostA: key(0, "a1"), hostB: key(1, "b1") },
        holder: key(0, "a1"),
      });
    }
    await b.leave(disks);
    for (const disk of disks) expect(Object.keys(fake.stateOf(disk).registered)).toEqual(["hostA"]);
  });

  it("replace what the host had registered in a former life", async () => {
    await on("hostA").join(slotNumber(0), "a1", disks);
    await on("hostA").join(slotNumber(0), "a2", disks);
    expect(fake.stateOf(disks[0] ?? "")).toEqual({ registered: { hostA: key(0, "a2") }, holder: key(0, "a2") });
  });

  it("take a dead node's key off all members, and leave a reservation behind", async () => {
    // The victim holds the reservation: it must go over to the survivor.
    await on("hostB").join(slotNumber(1), "b1", disks);
    const a = on("hostA");
    await a.join(slotNumber(0), "a1", disks);
    const outcome = await a.fence(victim, fenceAttempt());
    expect(outcome).toMatchObject({ ok: true });
    for (const disk of disks) {
      expect(fake.stateOf(disk)).toEqual({ registered: { hostA: key(0, "a1") }, holder: key(0, "a1") });
    }
    // Again, by somebody else: it bears that.
    expect(await a.fence(victim, fenceAttempt())).toMatchObject({ ok: true });
  });

  it("are made anew when their holder has left: without one nobody would be refused", async () => {
    const b = on("hostB");
    await b.join(slotNumber(1), "b1", disks);
    const a = on("hostA");
    await a.join(slotNumber(0), "a1", disks);
    fake.as("hostB");
    await b.leave(disks);
    expect(fake.stateOf(disks[1] ?? "").holder).toBeNull();
    fake.as("hostC");
    await on("hostC").join(slotNumber(1), "c1", disks);
    fake.as("hostA");
    expect(await a.fence({ ...victim, incarnation: "c1" }, fenceAttempt())).toMatchObject({ ok: true });
    for (const disk of disks) expect(fake.stateOf(disk).holder).not.toBeNull();
  });

  it("have fenced nobody while one member still has the key", async () => {
    await on("hostB").join(slotNumber(1), "b1", disks);
    const a = on("hostA");
    await a.join(slotNumber(0), "a1", disks);
    fake.refuse(disks[1] ?? "");
    const outcome = await a.fence(victim, fenceAttempt());
    expect(outcome.ok).toBe(false);
    expect(outcome.evidence).toContain(disks[1]);
  });

  it("send nothing more once nobody waits for them", async () => {
    await on("hostB").join(slotNumber(1), "b1", disks);
    const a = on("hostA");
    await a.join(slotNumber(0), "a1", disks);
    const attempt = fenceAttempt();
    attempt.end();
    expect(await a.fence(victim, attempt)).toMatchObject({ ok: false });
    for (const disk of disks) expect(Object.keys(fake.stateOf(disk).registered)).toEqual(["hostA", "hostB"]);
  });

  it("can be used by a node that has no slot yet", async () => {
    await on("hostB").join(slotNumber(1), "b1", disks);
    const a = on("hostA");
    expect(await a.fence(victim, fenceAttempt())).toMatchObject({ ok: true });
    await a.join(slotNumber(0), "a1", disks);
    for (const disk of disks) expect(fake.stateOf(disk).registered).toEqual({ hostA: key(0, "a1") });
  });

  it("are refused by name where they cannot be, and nothing of them remains", async () => {
    fake.refuse(disks[1] ?? "");
    await expect(on("hostA").join(slotNumber(0), "a1", disks)).rejects.toThrow(
      new RegExp(`${disks[1]}.*exit status 9`),
    );
    expect(fake.stateOf(disks[0] ?? "").registered).toEqual({});
    const onFiles = new ArrayReservations({ lockspace: LOCKSPACE, members: () => disks, env });
    await expect(onFiles.join(slotNumber(0), "a1", disks)).rejects.toThrow(
      /is a file: it takes no persistent reservations/,
    );
  });

  it("are asked of a device that may become a member, once the node is there", async () => {
    const spare = join(folder.path, "spare");
    writeFileSync(spare, "");
    const a = on("hostA");
    await a.admit(spare);
    await a.join(slotNumber(0), "a1", disks);
    await a.admit(spare);
    expect(fake.stateOf(spare).registered).toEqual({ hostA: key(0, "a1") });
    fake.refuse(spare);
    await expect(a.admit(spare)).rejects.toThrow(/cannot register a key on/);
  });

  it("cannot be used without the program, which says so", async () => {
    fake.remove();
    const path = process.env["PATH"];
    process.env["PATH"] = folder.path.replace(/[^/]+$/, "nowhere");
    expect(await new SgPersist(realClock).missing()).toMatch(/ENOENT/);
    process.env["PATH"] = path;
  });
});

const haveSgPersist = spawnSync("sg_persist", ["--version"]).status === 0;

describe.skipIf(!haveSgPersist)("the installed sg_persist", () => {
  it("understands the options that we give it: what it refuses is the file", async () => {
    const folder = tempDir("sg");
    const file = join(folder.path, "file");
    writeFileSync(file, Buffer.alloc(4096));
    const scsi = new SgPersist(realClock);
    expect(await scsi.missing()).toBeNull();
    for (const attempt of [
      () => scsi.read(file),
      () => scsi.register(file, "ab12"),
      () => scsi.unregister(file, "ab12"),
    ]) {
      await expect(attempt()).rejects.toThrow(/sg_persist: exit status \d+: .*ioctl/);
    }
    const says = (...args: readonly string[]): string =>
      spawnSync("sg_persist", ["--no-inquiry", "--out", ...args, file], { encoding: "utf8" }).stderr;
    expect(says("--reserve", "--param-rk=ab", "--prout-type=5")).toMatch(/ioctl/);
    expect(says("--preempt-abort", "--prout-type=5", "--param-rk=ab", "--param-sark=cd")).toMatch(/ioctl/);
    expect(says("--no-such-option")).toMatch(/unrecognized option/);
    folder.remove();
  });
});
