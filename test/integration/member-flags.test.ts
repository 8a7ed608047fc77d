import { afterEach, describe, expect, it } from "vitest";
import { NbdClient } from "../../src/blockdev/nbd/nbd-client.ts";
import type { ArrayInfo, CreateData, Mapping } from "../../src/daemon/control-api.ts";
import { Host, runProgram } from "../support/daemons.ts";

describe("members that are write-mostly, or fail fast", () => {
  let host: Host;
  afterEach(() => host.close());

  it("say so in their superblocks as mdadm reads them, and in detail, also when the array is assembled anew", async () => {
    host = new Host();
    await host.start("n1");
    const [a = "", b = ""] = ["a.img", "b.img"].map((name) => host.memberFile(name, 6 * 1024 * 1024));
    const one = ["--level=1", "--bitmap=internal", "--bitmap-chunk=64K", "--file-members"];
    const refused = await host.json("n1", "create", "md0", "-l1", "--cluster", "--file-members", a, "-W", b);
    expect(refused).toMatchObject({ exitCode: 2, error: { code: "E_USAGE" } });
    await host.data<CreateData>("n1", "create", "md0", ...one, "--failfast", a, "--write-mostly", b);
    const flags = async (): Promise<unknown> => {
      const { array } = await host.data<{ array: ArrayInfo }>("n1", "detail", "md0");
      return array.members.map((member) => member.flags);
    };
    expect(await flags()).toEqual([["failfast"], ["write-mostly", "failfast"]]);
    const examined = await Promise.all([a, b].map((path) => runProgram("mdadm", ["--examine", path])));
    expect(examined.map(({ stdout }) => /Flags : (.*)/.exec(stdout)?.[1])).toEqual([
      "failfast",
      "write-mostly failfast",
    ]);
    const { mapping } = await host.data<{ mapping: Mapping }>("n1", "map", "md0");
    const client = await NbdClient.connect(mapping.uri);
    const data = Buffer.alloc(4096, 7);
    await client.write(8192, data);
    expect(await client.read(8192, 4096)).toEqual(data);
    await client.close();
    await host.data("n1", "stop", "md0");
    await host.data("n1", "assemble", "md0", "--file-members", a, b);
    expect(await flags()).toEqual([["failfast"], ["write-mostly", "failfast"]]);
  });

  it("are marked when they are added, and anew when they come back, as by mdadm; not in a cluster", async () => {
    host = new Host();
    await host.start("n1");
    const paths = ["a.img", "b.img", "c.img", "d.img"].map((name) => host.memberFile(name, 6 * 1024 * 1024));
    const [a = "", b = "", c = "", d = ""] = paths;
    const one = ["--level=1", "--bitmap=internal", "--bitmap-chunk=64K", "--file-members"];
    await host.data<CreateData>("n1", "create", "md0", ...one, a, b);
    const flagsOf = async (path: string): Promise<unknown> => {
      const { array } = await host.data<{ array: ArrayInfo }>("n1", "detail", "md0");
      return array.members.find((member) => member.path === path)?.flags;
    };
    const told = async (path: string) =>
      /Flags : (.*)/.exec((await runProgram("mdadm", ["--examine", path])).stdout)?.[1];
    await host.data("n1", "md0", "--add-spare", "--write-mostly", "--failfast", c, "--nofailfast", d);
    expect([await flagsOf(c), await flagsOf(d)]).toEqual([["write-mostly", "failfast"], ["write-mostly"]]);
    expect([await told(c), await told(d)]).toEqual(["write-mostly failfast", "write-mostly"]);
    await host.data("n1", "md0", "--remove", c, d);
    await host.data("n1", "wait", "md0");
    await host.data("n1", "md0", "--fail", b, "--remove", b, "--write-mostly", "--re-add", b);
    await host.data("n1", "wait", "md0");
    expect([await flagsOf(b), await told(b)]).toEqual([["write-mostly"], "write-mostly"]);
    await host.data("n1", "md0", "--fail", b, "--remove", b, "--readwrite", "--re-add", b);
    await host.data("n1", "wait", "md0");
    expect([await flagsOf(b), await told(b)]).toEqual([[], undefined]);
    const meaningless = await host.json("n1", "md0", "--failfast", "--fail", b);
    expect(meaningless).toMatchObject({ exitCode: 2, error: { code: "E_USAGE" } });

    const [e = "", f = "", g = ""] = ["e.img", "f.img", "g.img"].map((name) => host.memberFile(name, 6 * 1024 * 1024));
    await host.data<CreateData>(
      "n1",
      "create",
      "md1",
      "-l1",
      "--cluster",
      "--bitmap-chunk=64K",
      "--file-members",
      e,
      f,
    );
    const refused = await host.json("n1", "md1", "--add", "--write-mostly", g);
    expect(refused).toMatchObject({
      exitCode: 2,
      error: { code: "E_VALUE", message: expect.stringContaining("clustered") },
    });
    await host.data("n1", "md1", "--add", "--failfast", g);
    expect(await told(g)).toBe("failfast");
  });
});
