import { closeSync, openSync, readSync } from "node:fs";
import { afterEach, expect, it } from "vitest";
import { NbdClient } from "../../src/blockdev/nbd/nbd-client.ts";
import type { ArrayInfo, Mapping } from "../../src/daemon/control-api.ts";
import { Host, runProgram } from "../support/daemons.ts";
import { haveLoopDevices, withLoopDevice } from "../support/loop-device.ts";

const GIB = 1024 ** 3;
/** Sparse. From 8 GiB on there is room for chunks so small that a bitmap takes more than a page. */
const MEMBER_BYTES = 9 * GIB;
const CHUNK = 64 * 1024;
const BITS_FIRST_PAGE = 30_720;
const BITS_PAGE = 32_768;
/** The ends of pages of the bitmap: 30720 bits are in the first one, 32768 in each other. */
const BORDERS = [0, BITS_FIRST_PAGE - 1, BITS_FIRST_PAGE, BITS_FIRST_PAGE + BITS_PAGE, BITS_FIRST_PAGE + 3 * BITS_PAGE];

let host: Host;
afterEach(() => host.close());

const detail = async (node: string): Promise<ArrayInfo> =>
  (await host.data<{ array: ArrayInfo }>(node, "detail", "md0")).array;
const clientOf = async (node: string): Promise<NbdClient> =>
  NbdClient.connect((await host.data<{ mapping: Mapping }>(node, "map", "md0")).mapping.uri);

function at(path: string, offset: number): Buffer {
  const file = openSync(path, "r");
  try {
    const found = Buffer.alloc(4096);
    readSync(file, found, 0, found.length, offset);
    return found;
  } finally {
    closeSync(file);
  }
}

it("a bitmap of several pages: created, written on every page, taken over from a dead node, and read by mdadm", async () => {
  host = new Host();
  await Promise.all([host.start("n1"), host.start("n2")]);
  const [a, b] = [host.memberFile("a.img", MEMBER_BYTES), host.memberFile("b.img", MEMBER_BYTES)];
  // No bit may be cleared before the node is killed, however long that takes.
  const bitmap = ["--cluster", "--bitmap-chunk=64K", "--delay=600"];
  const create = ["create", "md0", "--level=1", ...bitmap, "--file-members", "--assume-clean"];
  await host.data("n1", ...create, a, b);
  await host.data("n2", "assemble", "md0", a, b);
  await host.data("n1", "wait", "md0");
  const { dataOffsetBytes, sizeBytes } = await detail("n2");
  const bits = Math.ceil(sizeBytes / CHUNK);
  expect(bits).toBeGreaterThan(BITS_FIRST_PAGE + 3 * BITS_PAGE);

  // Both mark on all pages: n1 dies with it.
  const [one, two] = [await clientOf("n1"), await clientOf("n2")];
  const chunks = [...BORDERS, bits - 1];
  for (const [i, chunk] of chunks.entries()) {
    await one.write(chunk * CHUNK, Buffer.alloc(4096, 0x10 + i));
    await two.write(chunk * CHUNK + 8192, Buffer.alloc(4096, 0x30 + i));
  }
  await host.end("n1", "SIGKILL");
  await one.close();
  const taken = await host.event("n2", ({ text }) => /slot 0 of n1 \(died\): \d+ chunks are ours/.test(text));
  expect(taken.text).toContain(`${chunks.length} chunks are ours to resync`);
  await host.data("n2", "wait", "md0");
  const { copiedBytes } = await detail("n2");
  expect(copiedBytes).toBeGreaterThan(0);
  expect(copiedBytes).toBeLessThanOrEqual(chunks.length * CHUNK);
  for (const [i, chunk] of chunks.entries()) {
    for (const path of [a, b]) {
      expect(at(path, dataOffsetBytes + chunk * CHUNK)).toEqual(Buffer.alloc(4096, 0x10 + i));
      expect(at(path, dataOffsetBytes + chunk * CHUNK + 8192)).toEqual(Buffer.alloc(4096, 0x30 + i));
    }
  }
  if (haveLoopDevices()) {
    const { stdout } = await withLoopDevice(b, (device) => runProgram("mdadm", ["--examine-bitmap", device]));
    expect(stdout.match(new RegExp(`Bitmap : ${bits} bits \\(chunks\\)`, "g"))).toHaveLength(4);
  }

  // A chunk that would give the bitmaps other pages would move them: refused, with those that would not.
  expect(await host.json("n2", "grow", "md0", "--bitmap-chunk=64M")).toMatchObject({
    error: { code: "E_VALUE", causes: [{ message: expect.stringContaining("5 pages of 4 KiB") }] },
  });
  await two.close();
  await host.data("n2", "stop", "md0");
  await host.start("n1");
  await host.data("n1", "assemble", "md0", a, b);
  await host.data("n1", "wait", "md0");
  expect(await detail("n1")).toMatchObject({ copiedBytes: 0, health: "optimal" });
});
