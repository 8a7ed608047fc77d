import { createHash } from "node:crypto";
import { closeSync, openSync, readFileSync, writeSync } from "node:fs";
import { afterEach, describe, expect, it } from "vitest";
import type { CreateData, WipedMember } from "../../src/daemon/control-api.ts";
import { Host, runProgram } from "../support/daemons.ts";

const MEMBER_BYTES = 32 * 1024 * 1024;
const CREATE = ["create", "md0", "--level=1", "--cluster", "--nodes=2", "--file-members", "--assume-clean"];
const hashOf = (path: string): string => createHash("sha256").update(readFileSync(path)).digest("hex");

describe("mdctl zero-superblock", () => {
  let host: Host;
  afterEach(() => host.close());

  it("wipes members of an array that nobody uses, when its name was given; and nothing else", async () => {
    host = new Host();
    await Promise.all([host.start("n1"), host.start("n2")]);
    const [a, b, blank] = ["a", "b", "blank"].map((name) => host.memberFile(`${name}.img`, MEMBER_BYTES)) as [
      string,
      string,
      string,
    ];
    const zero = (...more: readonly string[]) =>
      host.json<{ readonly members: readonly WipedMember[] }>("n1", "zero-superblock", "--file-members", ...more);
    const hashes = (): readonly string[] => [a, b].map(hashOf);
    await host.data<CreateData>("n1", ...CREATE, a, b);

    // In use here; then on another node.
    expect(await zero(a, "--force", "--confirm=md0")).toMatchObject({
      exitCode: 6,
      error: { code: "E_DEVICE_BUSY", message: `${a} is a member of md0, which is assembled here` },
    });
    await host.data("n2", "assemble", "md0", "--file-members", a, b);
    await host.data("n1", "stop", "md0");
    expect(await zero(a, "--force", "--confirm=md0")).toMatchObject({
      error: { code: "E_DEVICE_BUSY", message: `${a} is a member of an array that is in use on n2` },
    });
    await host.data("n2", "stop", "md0");

    const whole = hashes();
    const refused = await zero(a, b);
    expect(refused).toMatchObject({ exitCode: 3, error: { code: "E_CONFIRM" } });
    expect(refused.error?.hint).toBe(`mdctl zero-superblock ${a} ${b} --force --confirm=md0`);
    expect(await zero(a, "--yes")).toMatchObject({ error: { code: "E_CONFIRM" } });
    expect(await zero(a, "--force", "--confirm=md1")).toMatchObject({ error: { code: "E_CONFIRM" } });
    const planned = await zero(a, blank, "--dry-run");
    const wiped = ["superblock 1.2", "bitmap of slot 0", "bitmap of slot 1"];
    expect(planned.data?.members).toMatchObject([
      { path: a, array: "md0", wiped },
      { path: blank, array: null, uuid: null, wiped: [] },
    ]);
    expect(hashes()).toEqual(whole);

    expect((await zero(a, "--force", "--confirm=md0")).data?.members).toMatchObject([{ path: a, wiped }]);
    expect((await runProgram("mdadm", ["--examine", a])).stdout).not.toContain("Magic");
    expect((await host.json("n1", "examine-bitmap", a)).ok).toBe(false);
    expect(hashOf(b)).toBe(whole[1]);
    expect(await zero(a, "--force", "--confirm=md0")).toMatchObject({
      exitCode: 0,
      data: { members: [{ path: a, wiped: [] }] },
    });

    // One that is broken is nobody's: the device is what has to be named.
    const file = openSync(b, "r+");
    writeSync(file, Uint8Array.of(0xff), 0, 1, 4096 + 40);
    closeSync(file);
    expect(await zero(b)).toMatchObject({ error: { code: "E_SUPERBLOCK_BAD" } });
    expect(await zero(b, "--force", "--confirm=md0")).toMatchObject({ error: { code: "E_CONFIRM" } });
    expect((await zero(b, "--force", `--confirm=${b}`)).data?.members).toMatchObject([
      { path: b, array: null, wiped: ["superblock 1.2"] },
    ]);
    expect((await runProgram("mdadm", ["--examine", b])).stdout).not.toContain("Magic");
  }, 240_000);
});
