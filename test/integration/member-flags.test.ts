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
});
