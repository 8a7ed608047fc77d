import { spawn } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { NbdHost, type NbdHostOptions } from "../support/nbd-host.ts";
import { SeededRandom } from "../support/seeded-random.ts";
import { tempDir } from "../support/temp-dir.ts";

const MIB = 1024 * 1024;

interface Ran {
  readonly status: number | null;
  readonly out: string;
}

function run(command: string, ...args: string[]): Promise<Ran> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"] });
    let out = "";
    const collect = (data: Buffer): void => {
      out += data.toString();
    };
    child.stdout.on("data", collect);
    child.stderr.on("data", collect);
    child.on("error", reject);
    child.on("close", (status) => resolve({ status, out }));
  });
}

async function must(command: string, ...args: string[]): Promise<string> {
  const { status, out } = await run(command, ...args);
  expect(status, `${command} ${args.join(" ")}\n${out}`).toBe(0);
  return out;
}

const noise = (bytes: number): Buffer => {
  const random = new SeededRandom(3);
  return Buffer.from(Uint32Array.from({ length: bytes / 4 }, () => Math.floor(random.next() * 2 ** 32)).buffer);
};

describe.each([
  ["io_uring", "unix", 512],
  ["threads", "tcp", 4096],
] as const)("the tools of others, over %s and %s, blocks of %i bytes", (ring, transport, blockSize) => {
  let host: NbdHost;
  let folder: ReturnType<typeof tempDir>;
  const open = (options: Partial<NbdHostOptions> = {}): NbdHost => {
    host = new NbdHost({ ring, transport, blockSize, sizeBytes: 64 * MIB, ...options });
    return host;
  };
  beforeEach(() => {
    folder = tempDir("nbd-tools");
  });
  afterEach(async () => {
    folder.remove();
    await host.isWhole();
    await host.stop();
  });

  it("nbdinfo sees size, flags and block sizes", async () => {
    const { uri } = open();
    const [about] = (JSON.parse(await must("nbdinfo", "--json", uri)) as { exports: unknown[] }).exports;
    expect(about).toMatchObject({
      "export-name": "disk",
      "export-size": 64 * MIB,
      is_read_only: false,
      can_flush: true,
      can_fua: true,
      can_trim: true,
      can_zero: true,
      can_df: true,
      can_multi_conn: true,
      can_cache: false,
      can_fast_zero: false,
      block_size_minimum: blockSize,
      block_size_preferred: 4096,
      block_size_maximum: 32 * MIB,
    });
    expect((await must("nbdinfo", "--size", uri)).trim()).toBe(String(64 * MIB));
    expect(await must("nbdinfo", "--list", host.uriOf(""))).toContain('export="disk"');
    const other = await run("nbdinfo", host.uriOf("other"));
    expect(other.status).not.toBe(0);
    expect(other.out).toContain("No such file or directory for export: other");
  });

  it("nbdinfo is told what is not true of an export", async () => {
    const { uri } = open({ readOnly: true, multiConn: false });
    expect((await run("nbdinfo", "--is", "read-only", uri)).status).toBe(0);
    expect((await run("nbdinfo", "--can", "multi-conn", uri)).status).toBe(2);
  });

  it("nbdcopy copies in and out over several connections", async () => {
    const { uri } = open();
    const image = noise(64 * MIB);
    const [from, to] = [join(folder.path, "in"), join(folder.path, "out")];
    writeFileSync(from, image);
    await must("nbdcopy", "--connections=4", "--flush", from, uri);
    expect(host.sink.data.equals(image)).toBe(true);
    await must("nbdcopy", "--connections=4", "--request-size=33554432", uri, to);
    expect(readFileSync(to).equals(image)).toBe(true);
  });

  it("qemu-io writes, zeroes, discards and reads back", async () => {
    const { uri } = open();
    const steps = [
      "write -P 0x5a 0 64k",
      "write -f -P 0x5b 64k 4k",
      "read -P 0x5a 0 64k",
      "read -P 0x5b 64k 4k",
      "write -P 1 16M 8M",
      "write -z 18M 1M",
      "read -P 0 18M 1M",
      "read -P 1 19M 5M",
      "write -z -u 20M 64k",
      "read -P 0 20M 64k",
      "discard 256k 64k",
      "write -P 9 512 512",
      "read -P 9 512 512",
      "aio_write -P 3 1M 64k",
      "aio_write -P 4 2M 512",
      "aio_flush",
      "read -P 3 1M 64k",
      "read -P 4 2M 512",
      "flush",
    ];
    const out = await must("qemu-io", "-f", "raw", ...steps.flatMap((step) => ["-c", step]), uri);
    expect(out).not.toMatch(/fail|error/i);
    expect(host.sink.data.subarray(0, 512).every((byte) => byte === 0x5a)).toBe(true);
    expect(host.sink.data.subarray(512, 1024).every((byte) => byte === 9)).toBe(true);
  });

  it("qemu-img converts and compares", async () => {
    const { uri } = open();
    const image = join(folder.path, "image");
    writeFileSync(image, Buffer.concat([noise(24 * MIB), Buffer.alloc(40 * MIB)]));
    await must("qemu-img", "convert", "-n", "-f", "raw", "-O", "raw", image, uri);
    expect(await must("qemu-img", "compare", "-f", "raw", "-F", "raw", image, uri)).toContain("identical");
    host.sink.data.writeUInt8(host.sink.data.readUInt8(5 * MIB) ^ 1, 5 * MIB);
    expect((await run("qemu-img", "compare", "-f", "raw", "-F", "raw", image, uri)).status).toBe(1);
  });

  it("qemu-io is told of errors, and goes on", async () => {
    const { uri } = open();
    host.sink.errno = 28;
    expect((await run("qemu-io", "-f", "raw", "-c", "write 0 4k", uri)).out).toContain("No space left on device");
    host.sink.errno = 5;
    const { out } = await run("qemu-io", "-f", "raw", "-c", "read 0 4k", "-c", "read 0 64k", uri);
    expect(out.match(/Input\/output error/g)).toHaveLength(2);
    host.sink.errno = 0;
    await must("qemu-io", "-f", "raw", "-c", "read -P 0 0 4k", uri);
  });

  it("loses nothing when fio is killed in the middle", async () => {
    const { uri } = open();
    host.sink.logging = true;
    const fio = spawn("fio", [
      "--name=load",
      "--ioengine=nbd",
      `--uri=${uri}`,
      // One process, so that it dies as a whole.
      ...["--thread", "--rw=randrw", "--bsrange=4k-512k", "--iodepth=32", "--size=64M", "--time_based", "--runtime=60"],
    ]);
    await host.until(() => host.sink.log.length > 500, "fio is at work");
    const gone = new Promise((resolve) => fio.once("exit", resolve));
    fio.kill("SIGKILL");
    await gone;
  });

  it.each([
    ["small blocks, deep", ["--rw=randwrite", "--bs=4k", "--iodepth=32"]],
    ["all sizes", ["--rw=randwrite", `--bsrange=${blockSize}-1m`, `--blockalign=${blockSize}`, "--iodepth=16"]],
  ])("fio verifies what it wrote: %s", async (_, options) => {
    const { uri } = open();
    await must(
      "fio",
      "--name=verify",
      "--ioengine=nbd",
      `--uri=${uri}`,
      ...options,
      "--size=32M",
      "--verify=crc32c",
      "--verify_fatal=1",
      "--verify_state_save=0",
      "--randseed=7",
      `--aux-path=${folder.path}`,
    );
  });
});
