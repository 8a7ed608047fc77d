import { readFileSync, writeFileSync } from "node:fs";
import { afterEach, describe, expect, it } from "vitest";
import { sector } from "../../src/base/units.ts";
import { NbdClient } from "../../src/blockdev/nbd/nbd-client.ts";
import type { ArrayInfo, CreateData, ManageData, Mapping } from "../../src/daemon/control-api.ts";
import { parseRaid10Layout } from "../../src/superblock/raid10-layout.ts";
import { Host, runProgram } from "../support/daemons.ts";
import { type Md10Geometry, mdPlaces, mdSize } from "../support/raid10.ts";

const MIB = 1024 * 1024;
const MEMBER_BYTES = 6 * MIB;
const CHUNK_BYTES = 65_536;

/** What the array must hold, chunk by chunk, on every copy: md's formula says where. */
function expectCopies(geometry: Md10Geometry, disks: readonly Buffer[], content: Buffer): void {
  for (let at = 0; at < mdSize(geometry); at += geometry.chunkSectors) {
    const wanted = content.subarray(at * 512, at * 512 + CHUNK_BYTES);
    for (const [disk, on] of mdPlaces(geometry, at)) {
      const found = disks[disk]?.subarray(on * 512, on * 512 + CHUNK_BYTES);
      if (found?.equals(wanted) !== true) throw new Error(`sector ${at} on raid disk ${disk} at ${on} is not equal`);
    }
  }
}

describe("a RAID10 with far or offset copies, on one host", () => {
  let host: Host;
  afterEach(() => host.close());

  it.each([
    ["f2", 3, "internal"],
    ["o2", 4, "none"],
  ] as const)(
    "%s on %i, bitmap %s: resynced, degraded, filled again, and as md would read it",
    async (layout, count, bitmap) => {
      host = new Host();
      await host.start("n1");
      const paths = Array.from({ length: count + 1 }, (_, i) => host.memberFile(`d${i}.img`, MEMBER_BYTES));
      for (const [i, path] of paths.entries()) writeFileSync(path, Buffer.alloc(MEMBER_BYTES, 0xa0 + i));
      const members = paths.slice(0, count);
      const spare = paths[count] ?? "";
      const shape = ["--level=10", `--layout=${layout}`, "--chunk=64K"];
      const refused = await host.json("n1", "create", "md0", ...shape, "--cluster", "--file-members", ...members);
      expect(refused).toMatchObject({
        exitCode: 2,
        error: { code: "E_LAYOUT_UNSUPPORTED", hint: expect.stringContaining("--bitmap=internal") },
      });

      const one = [`--bitmap=${bitmap}`, "--bitmap-chunk=64K", "--file-members"];
      await host.data<CreateData>("n1", "create", "md0", ...shape, ...one, ...members);
      const detail = async (): Promise<ArrayInfo> =>
        (await host.data<{ array: ArrayInfo }>("n1", "detail", "md0")).array;
      const created = await detail();
      const geometry = {
        layout: parseRaid10Layout(layout) ?? 0,
        chunkSectors: 128,
        raidDisks: count,
        memberSize: sector(created.usedDevBytes / 512),
      };
      expect(created.sizeBytes).toBe(mdSize(geometry) * 512);
      await host.data("n1", "wait", "md0");

      const { mapping } = await host.data<{ mapping: Mapping }>("n1", "map", "md0");
      const client = await NbdClient.connect(mapping.uri);
      const content = Buffer.alloc(created.sizeBytes);
      let stamp = 1;
      const write = async (at: number, bytes: number): Promise<void> => {
        const data = Buffer.alloc(bytes);
        for (let i = 0; i < bytes; i += 512) data.writeUInt32LE(stamp++, i);
        data.copy(content, at);
        await client.write(at, data);
      };
      const readAll = async (): Promise<void> => {
        for (let at = 0; at < content.length; at += MIB) {
          const bytes = Math.min(MIB, content.length - at);
          expect((await client.read(at, bytes)).equals(content.subarray(at, at + bytes)), `at ${at}`).toBe(true);
        }
      };
      for (let at = 0; at < content.length; at += MIB) await write(at, Math.min(MIB, content.length - at));
      expect((await host.run("n1", "mdstat")).stdout).toContain(
        `64K chunks 2 ${layout === "o2" ? "offset" : "far"}-copies [${count}/${count}]`,
      );

      const lost = members[1] ?? "";
      await host.data<ManageData>("n1", "md0", "--fail", lost);
      // The neighbours have the other copies of what was there.
      expect(await host.json("n1", "md0", "--fail", members[0] ?? "")).toMatchObject({
        error: { code: "E_LAST_COPY" },
      });
      await write(3 * MIB - 512, MIB);
      await readAll();
      await host.data<ManageData>("n1", "md0", "--remove", lost);
      await host.data<ManageData>("n1", "md0", "--add", lost);
      await host.data("n1", "wait", "md0");
      await write(5 * MIB + 512, 2 * MIB);
      const second = members[2] ?? "";
      await host.data<ManageData>("n1", "md0", "--fail", second, "--remove", second);
      await host.data<ManageData>("n1", "md0", "--add", spare);
      await write(7 * MIB, 512);
      await host.data("n1", "wait", "md0");
      await readAll();
      await client.close();
      await host.data("n1", "stop", "md0");

      const now = members.map((path) => (path === second ? spare : path));
      const disks = now.map((path) => readFileSync(path).subarray(created.dataOffsetBytes));
      expectCopies(geometry, disks, content);
      expect((await runProgram("mdadm", ["--examine", spare])).stdout).toContain(
        `Layout : ${layout === "o2" ? "offset" : "far"}=2`,
      );
      await host.data("n1", "assemble", "md0", ...now);
      expect(await detail()).toMatchObject({ health: "optimal", layout });
    },
    120_000,
  );
});
