import { linkSync, mkdirSync, readFileSync, unlinkSync } from "node:fs";
import { afterEach, describe, expect, it } from "vitest";
import type { ArrayInfo, CreateData, ManageData, Mapping } from "../../src/daemon/control-api.ts";
import { Host, runProgram } from "../support/daemons.ts";

const MIB = 1024 * 1024;
const MEMBER_BYTES = 32 * MIB;
const CREATE = ["create", "md0", "--level=1", "--cluster", "--bitmap-chunk=64K", "--file-members"];

describe("devices that two hosts see under different paths", () => {
  let host: Host;
  afterEach(() => host.close());

  it("are added by their uuid, come back with what they missed, and are refused by the name of who cannot see them", async () => {
    host = new Host();
    await Promise.all([host.start("n1"), host.start("n2")]);
    const a = host.memberFile("a.img", MEMBER_BYTES);
    const b = host.memberFile("b.img", MEMBER_BYTES);
    mkdirSync(host.path("elsewhere"));
    const seenByN2 = (path: string, name: string): string => {
      const other = host.path(`elsewhere/${name}`);
      linkSync(path, other);
      return other;
    };
    await host.data<CreateData>("n1", ...CREATE, "--assume-clean", a, b);
    await host.data("n2", "assemble", "md0", seenByN2(a, "x"), seenByN2(b, "y"));
    const write = async (node: string, what: string): Promise<void> => {
      const { mapping } = await host.data<{ mapping: Mapping }>(node, "map", "md0");
      expect(await runProgram("qemu-io", ["-f", "raw", "-c", what, mapping.uri])).toMatchObject({ exitCode: 0 });
    };
    const idle = async (): Promise<void> => {
      for (const node of ["n1", "n2"]) await host.data(node, "wait", "md0");
    };
    /** Sectors that each recovery has copied. */
    const recovered = async (node: string): Promise<readonly unknown[]> => {
      const client = await host.client(node);
      const { data } = await client.request("events", { array: null, since: 0, follow: false });
      client.close();
      const ends = data.events.filter(({ event, fields }) => event === "FINISH" && fields["action"] === "recover");
      return ends.map(({ fields }) => fields["sectors"]);
    };
    await idle();

    // Both write while the member is away: both chunks come back, and nothing else is copied.
    await host.data<ManageData>("n1", "md0", "--fail", b, "--remove", b);
    await write("n1", "write -P 0x11 1M 64k");
    await write("n2", "write -P 0x22 9M 64k");
    const back = await host.data<ManageData>("n1", "re-add", "md0", "missing");
    expect(back.ops).toMatchObject([{ op: "re-add", member: b, result: "done", as: "re-add" }]);
    await idle();
    expect([...(await recovered("n1")), ...(await recovered("n2"))]).toEqual([(2 * 64 * 1024) / 512]);

    // A new device, wherever each of them has it.
    const c = host.memberFile("c.img", MEMBER_BYTES);
    const refused = await host.json<ManageData>("n1", "add", "md0", c);
    expect(refused.error?.message).toBe(`cannot add ${c} to md0: n2 cannot see it`);
    expect((await runProgram("mdadm", ["--examine", c])).stdout).not.toContain("Magic");
    const spurious = await host.json<ManageData>("n2", "md0", "--cluster-confirm", `2:${c}`);
    expect(spurious).toMatchObject({ ok: false, error: { code: "E_VALUE" } });
    seenByN2(c, "z");
    await host.data<ManageData>("n1", "md0", "--add-spare", c);
    const { array } = await host.data<{ array: ArrayInfo }>("n2", "detail", "md0");
    expect(array.members.map(({ path }) => path)).toContain(host.path("elsewhere/z"));

    // What is gone is found by the word for it.
    await host.data<ManageData>("n1", "remove", "md0", c);
    await host.data<ManageData>("n1", "add", "md0", c);
    unlinkSync(c);
    const removed = await host.data<ManageData>("n1", "md0", "--remove", "detached");
    expect(removed.ops).toMatchObject([{ op: "remove", member: c, result: "done" }]);

    for (const node of ["n1", "n2"]) await host.data(node, "stop", "md0");
    const data = [a, b].map((path) => readFileSync(path).subarray(array.dataOffsetBytes));
    expect(data[0]?.equals(data[1] ?? Buffer.alloc(0))).toBe(true);
  }, 240_000);
});
