import { closeSync, openSync, readFileSync, writeSync } from "node:fs";
import { afterEach, describe, expect, it } from "vitest";
import type { ArrayInfo, CreateData } from "../../src/daemon/control-api.ts";
import { Host } from "../support/daemons.ts";

const MEMBER_BYTES = 32 * 1024 * 1024;
const CREATE = ["create", "md0", "--level=1", "--cluster", "--bitmap-chunk=64K", "--file-members", "--assume-clean"];

interface Scrubbed {
  readonly mismatch: ArrayInfo["mismatch"];
}

const rangesOf = ({ mismatch }: Scrubbed) =>
  mismatch.ranges.map(({ loBytes, hiBytes, reason }) => [loBytes, hiBytes, reason]);

describe("F20: a sector that rots while nobody looks", () => {
  let host: Host;
  afterEach(() => host.close());

  /** An array of so many members on two nodes, whose member at `which` is spoilt while it is stopped. */
  const spoilt = async (members: number, which: number, sectors: readonly number[]): Promise<readonly string[]> => {
    host = new Host();
    await Promise.all([host.start("n1"), host.start("n2")]);
    const paths = ["a", "b", "c"].slice(0, members).map((name) => host.memberFile(`${name}.img`, MEMBER_BYTES));
    await host.data<CreateData>("n1", ...CREATE, ...paths);
    const { array } = await host.data<{ array: ArrayInfo }>("n1", "detail", "md0");
    await host.data("n1", "stop", "md0");
    const file = openSync(paths[which] ?? "", "r+");
    for (const at of sectors) writeSync(file, Buffer.alloc(512, 0xa5), 0, 512, array.dataOffsetBytes + at * 512);
    closeSync(file);
    for (const node of ["n1", "n2"]) await host.data(node, "assemble", "md0", ...paths);
    return paths;
  };

  it("is found by a check, and only that; of three copies a repair on the other node heals it", async () => {
    const [, b = ""] = await spoilt(3, 1, [1000, 1001, 9000]);
    const found = await host.json<Scrubbed>("n1", "scrub", "md0");
    expect([found.ok, found.exitCode, found.data?.mismatch.sectors]).toEqual([true, 1, 256]);
    expect(rangesOf(found.data as Scrubbed)).toEqual([
      [1000 * 512, 1002 * 512, `differs: ${b}`],
      [9000 * 512, 9001 * 512, `differs: ${b}`],
    ]);
    const detail = await host.run("n1", "detail", "md0");
    expect(detail.stdout).toContain(`md0: check finished, mismatch_cnt 256, 2 ranges`);

    const healed = await host.json<Scrubbed>("n2", "scrub", "md0", "--repair=majority");
    expect([healed.exitCode, healed.data?.mismatch.left]).toEqual([0, false]);
    expect(rangesOf(healed.data as Scrubbed).map(([, , reason]) => reason)).toEqual([
      `repaired: ${b}`,
      `repaired: ${b}`,
    ]);
    const again = await host.json<Scrubbed>("n1", "scrub", "md0");
    expect([again.exitCode, again.data?.mismatch]).toMatchObject([0, { sectors: 0, ranges: [], state: "finished" }]);
  });

  it("of two copies is repaired only from the one that is named; mdadm's spelling does the same", async () => {
    const [a = "", b = ""] = await spoilt(2, 0, [77]);
    const refused = await host.run("n1", "--action=repair", "md0");
    expect([refused.exitCode, refused.stderr]).toEqual([
      3,
      expect.stringContaining("cannot tell which copy of md0 is right"),
    ]);
    expect(refused.stderr).toContain("mdctl action md0 repair --source=MEMBER");
    const before = readFileSync(a);
    const checked = await host.json<Scrubbed>("n1", "scrub", "md0", "--from=1M");
    expect([checked.exitCode, checked.data?.mismatch.sectors]).toEqual([0, 0]);
    expect(readFileSync(a).equals(before)).toBe(true);

    await host.data("n2", "action", "md0", "repair", `--source=${b}`);
    await host.data("n2", "wait", "md0");
    const { array } = await host.data<{ array: ArrayInfo }>("n2", "detail", "md0");
    expect(array.mismatch).toMatchObject({ lastAction: "repair", state: "finished", left: false, sectors: 128 });
    const clean = await host.json<Scrubbed>("n1", "scrub", "md0");
    expect([clean.exitCode, clean.data?.mismatch.sectors]).toEqual([0, 0]);
    const at = array.dataOffsetBytes + 77 * 512;
    expect(
      readFileSync(a)
        .subarray(at, at + 512)
        .every((byte) => byte === 0),
    ).toBe(true);
  });

  it("frozen keeps this node from copying until idle, and says so", async () => {
    await spoilt(2, 0, []);
    await host.data("n1", "action", "md0", "frozen");
    const frozen = await host.data<{ array: ArrayInfo }>("n1", "detail", "md0");
    expect(frozen.array.sync).toMatchObject({ action: "frozen", status: "frozen" });
    await host.data("n1", "action", "md0", "idle");
    const idle = await host.data<{ array: ArrayInfo }>("n1", "detail", "md0");
    expect(idle.array.sync).toMatchObject({ action: "idle", status: "none" });
  });
});
