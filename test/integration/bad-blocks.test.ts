import { afterEach, describe, expect, it } from "vitest";
import { readSuperblock } from "../../src/array/superblock-store.ts";
import { sector } from "../../src/base/units.ts";
import { openFileDevice } from "../../src/blockdev/file-device.ts";
import { NbdClient } from "../../src/blockdev/nbd/nbd-client.ts";
import type { ArrayInfo, CreateData, Mapping } from "../../src/daemon/control-api.ts";
import { encodeBadBlocks } from "../../src/superblock/bad-block-log.ts";
import { Feature } from "../../src/superblock/superblock.ts";
import { encodeSuperblock } from "../../src/superblock/superblock-codec.ts";
import { Host, runProgram } from "../support/daemons.ts";

const MEMBER_BYTES = 6 * 1024 * 1024;

/** As md marks it: sectors [at, at + sectors) of the data, which are spoilt besides. */
async function mark(path: string, at: number, sectors: number): Promise<void> {
  const device = await openFileDevice(path, { readOnly: false });
  const superblock = await readSuperblock(device);
  const { superOffset, bblogOffset, dataOffset, featureMap } = superblock;
  const entries = [{ at: dataOffset + at, sectors }];
  await device.write(sector(superOffset + bblogOffset), encodeBadBlocks(entries, 0, 4096));
  await device.write(superOffset, encodeSuperblock({ ...superblock, featureMap: featureMap | Feature.badBlocks }));
  await device.write(sector(dataOffset + at), new Uint8Array(sectors * 512).fill(0xee));
  await device.close();
}

const mdadm = async (option: string, path: string): Promise<string> =>
  (await runProgram("mdadm", [option, path])).stdout;

describe("bad-block logs of an array that one host uses", () => {
  let host: Host;
  afterEach(() => host.close());

  const created = async (): Promise<readonly string[]> => {
    host = new Host();
    await host.start("n1");
    const paths = ["a.img", "b.img"].map((name) => host.memberFile(name, MEMBER_BYTES));
    const one = ["--level=1", "--bitmap=internal", "--bitmap-chunk=64K", "--assume-clean", "--file-members"];
    await host.data<CreateData>("n1", "create", "md0", ...one, ...paths);
    return paths;
  };
  const client = async (): Promise<NbdClient> =>
    NbdClient.connect((await host.data<{ mapping: Mapping }>("n1", "map", "md0")).mapping.uri);
  const badBlocks = async (): Promise<readonly number[]> => {
    const { array } = await host.data<{ array: ArrayInfo }>("n1", "detail", "md0");
    return array.members.map((member) => member.badBlocks);
  };

  it("are made as mdadm makes them; what one lists is read elsewhere, and a write makes it good again", async () => {
    const [a = "", b = ""] = await created();
    expect(await mdadm("--examine", a)).toContain("Bad Block Log : 512 entries available at offset 16 sectors\n");
    const content = Buffer.alloc(64 * 1024, 0x5a);
    const before = await client();
    await before.write(0, content);
    await before.flush();
    await before.close();
    await host.data("n1", "stop", "md0");
    await mark(a, 16, 8);
    await host.data("n1", "assemble", "md0", a, b);
    expect(await badBlocks()).toEqual([1, 0]);
    const array = await client();
    for (let i = 0; i < 20; i++) expect(await array.read(8192, 4096)).toEqual(content.subarray(0, 4096));
    await array.write(8192, Buffer.alloc(2048, 0x77));
    expect(await badBlocks()).toEqual([1, 0]);
    expect((await mdadm("--examine-badblocks", a)).split("\n")[1]).toMatch(/^ +2068 for 4 sectors$/);
    await array.write(10240, Buffer.alloc(2048, 0x78));
    expect(await badBlocks()).toEqual([0, 0]);
    expect(await mdadm("--examine-badblocks", a)).toContain("Bad-blocks list is empty");
    await array.close();
  });

  it("are good again after a repair", async () => {
    const [a = "", b = ""] = await created();
    await host.data("n1", "stop", "md0");
    await mark(a, 16, 8);
    await host.data("n1", "assemble", "md0", a, b);
    await host.json("n1", "scrub", "md0");
    expect(await badBlocks()).toEqual([1, 0]);
    expect((await host.json("n1", "scrub", "md0", `--repair=source=${b}`)).exitCode).toBe(0);
    await expect.poll(badBlocks, { timeout: 20_000 }).toEqual([0, 0]);
    const array = await client();
    for (let i = 0; i < 20; i++) expect(await array.read(8192, 4096)).toEqual(Buffer.alloc(4096));
    await array.close();
  });

  it("come and go with assemble --update, as with mdadm's", async () => {
    const [a = "", b = ""] = await created();
    const update = async (how: string) => {
      await host.json("n1", "stop", "md0");
      return host.json("n1", "assemble", "md0", `--update=${how}`, a, b);
    };
    expect((await update("no-bbl")).exitCode).toBe(0);
    expect(await mdadm("--examine-badblocks", a)).toContain("No bad-blocks list configured");
    expect((await update("bbl")).exitCode).toBe(0);
    expect(await mdadm("--examine", b)).toContain("Bad Block Log : 512 entries available at offset 16 sectors\n");

    await host.data("n1", "stop", "md0");
    await mark(a, 16, 8);
    const refused = await update("no-bbl");
    expect(refused.error).toMatchObject({ code: "E_VALUE", message: expect.stringContaining("is not empty") });
    expect(await mdadm("--examine-badblocks", a)).toContain("for 8 sectors");
    // What the member lacks nobody knows any more: it is filled anew.
    expect((await update("force-no-bbl")).exitCode).toBe(0);
    await host.data("n1", "wait", "md0");
    expect(await mdadm("--examine-badblocks", a)).toContain("No bad-blocks list configured");
    const array = await client();
    for (let i = 0; i < 20; i++) expect(await array.read(8192, 4096)).toEqual(Buffer.alloc(4096));
    await array.close();
    const wrong = await host.json("n1", "assemble", "md0", "--update=summaries", a, b);
    expect(wrong).toMatchObject({ exitCode: 2, error: { code: "E_VALUE" } });
  });
});
