import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { NbdClient } from "../../src/blockdev/nbd/nbd-client.ts";
import { firstDifference } from "../../src/cli/demo/compare-members.ts";
import { DemoHost } from "../../src/cli/demo/demo-host.ts";
import { BLOCK_BYTES } from "../../src/cli/demo/pattern.ts";
import { VerifyingWriter } from "../../src/cli/demo/verifying-writer.ts";
import { waitForEvent } from "../../src/cli/demo/wait-for-event.ts";
import type { ArrayInfo, Mapping } from "../../src/daemon/control-api.ts";
import { realRandom } from "../../src/env/real-env.ts";

const MIB = 1024 * 1024;
const MEMBER_BYTES = 96 * MIB;
/** The front belongs to the tool under test on n2, the rest to the writer on n1: two nodes never write one block. */
const FRONT_BYTES = 32 * MIB;

describe("two nodes with one mirror", () => {
  let host: DemoHost;
  let array: ArrayInfo;

  beforeEach(async () => {
    host = new DemoHost(null, MEMBER_BYTES);
    await host.startLockServer();
    await Promise.all([host.startNode("n1", "2s"), host.startNode("n2", "2s")]);
    const options = ["--level=1", "--cluster", "--bitmap-chunk=256K", "--run", "--file-members", "--no-map"];
    const created = await host.mdctl<{ array: ArrayInfo }>("n1", "create", "md0", ...options, ...host.members);
    array = created.array;
    await host.mdctl("n2", "assemble", "md0", "--no-map", ...host.members);
    await host.mdctl("n1", "wait", "md0");
    await host.mdctl("n2", "wait", "md0");
  });

  afterEach(() => host.close());

  const uriOf = async (node: string): Promise<string> => {
    const { mapping } = await host.mdctl<{ mapping: Mapping }>(node, "map", "md0");
    return mapping.uri;
  };

  const mirrorsDiffer = (): Promise<number | null> => {
    const areas = host.members.map((path) => ({ path, dataOffsetBytes: array.dataOffsetBytes }));
    return firstDifference(areas, array.sizeBytes);
  };

  it("keep fio's checksums right on one while the other is killed in the middle of its writes", async () => {
    const writer = new VerifyingWriter(
      { firstBlock: FRONT_BYTES / BLOCK_BYTES, blocks: (array.sizeBytes - FRONT_BYTES) / BLOCK_BYTES },
      realRandom,
    );
    const victim = await NbdClient.connect(await uriOf("n1"));
    const survivorUri = await uriOf("n2");
    const load = writer.run(victim, 8, new AbortController().signal);

    const fio = spawn(
      "fio",
      [
        ...["--name=verify", "--ioengine=nbd", `--uri=${survivorUri}`, "--rw=randrw", "--bs=4k", "--iodepth=16"],
        ...[
          `--size=${FRONT_BYTES}`,
          "--verify=crc32c",
          "--verify_fatal=1",
          "--verify_backlog=512",
          "--loops=2",
          "--verify_state_save=0",
        ],
      ],
      { stdio: ["ignore", "pipe", "pipe"] },
    );
    const output: Buffer[] = [];
    fio.stdout.on("data", (chunk: Buffer) => output.push(chunk));
    fio.stderr.on("data", (chunk: Buffer) => output.push(chunk));
    const fioExit = once(fio, "exit");

    await writer.acknowledged(500);
    await host.kill("n1");
    await load;
    await victim.close();
    const [status] = await fioExit;
    expect(Buffer.concat(output).toString()).not.toMatch(/verify failed|bad magic|error/i);
    expect(status).toBe(0);

    await waitForEvent(host.socketOf("n2"), ["TAKEOVER"], 20_000);
    await host.mdctl("n2", "wait", "md0");
    const survivor = await NbdClient.connect(survivorUri);
    expect((await writer.verify(survivor)).wrong).toEqual([]);
    await survivor.close();
    await host.mdctl("n2", "stop", "md0");
    expect(await mirrorsDiffer()).toBeNull();
  });

  it("serve the usual tools: nbdinfo, nbdcopy both ways, qemu-img, and show one node's data on the other", async () => {
    const [one, two] = [await uriOf("n1"), await uriOf("n2")];
    const info = JSON.parse((await host.run("nbdinfo", ["--json", one])).stdout) as {
      exports: { "export-size": number; can_flush: boolean; can_fua: boolean; can_trim: boolean; can_zero: boolean }[];
    };
    expect(info.exports[0]).toMatchObject({
      "export-size": array.sizeBytes,
      can_flush: true,
      can_fua: true,
      can_trim: true,
      can_zero: true,
    });

    const original = join(host.folder, "original");
    const copy = join(host.folder, "copy");
    writeFileSync(original, realRandom.bytes(array.sizeBytes));
    await host.run("nbdcopy", ["--flush", original, one]);
    await host.run("nbdcopy", [two, copy]);
    expect(readFileSync(copy).equals(readFileSync(original))).toBe(true);

    await host.run("qemu-img", ["compare", "-f", "raw", "-F", "raw", original, one]);
    const described = JSON.parse((await host.run("qemu-img", ["info", "--output=json", two])).stdout);
    expect(described).toMatchObject({ "virtual-size": array.sizeBytes });
    expect(await mirrorsDiffer()).toBeNull();
  });
});
