import { constants, readFileSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { sector } from "../../src/base/units.ts";
import { type IoRing, WRITE_DURABLE } from "../../src/blockdev/io-ring.ts";
import { openRing } from "../../src/blockdev/open-ring.ts";
import { type Libc, loadLibc } from "../../src/blockdev/uring/libc.ts";
import { Opcode, RWF_DSYNC } from "../../src/blockdev/uring/uapi.ts";
import type { TestMember } from "../conformance/io-ring.ts";
import { RingDriver } from "../conformance/ring-driver.ts";
import { fileMember } from "./test-member.ts";

// A test cannot cut the power. What it can see is what the kernel is asked for.

const written = vi.hoisted((): number[] => []);
const synced = vi.hoisted((): number[] => []);
vi.mock("node:fs", async (original) => {
  const fs = await original<typeof import("node:fs")>();
  return {
    ...fs,
    writeSync: (...values: Parameters<typeof fs.writeSync>) => {
      written.push(values[0]);
      return fs.writeSync(...values);
    },
    fdatasync: (...values: Parameters<typeof fs.fdatasync>) => {
      synced.push(values[0]);
      fs.fdatasync(...values);
    },
  };
});

const options = { entries: 8, arenaBytes: 64 << 10 };
const libc = loadLibc();
const hasUring = typeof libc !== "string" && isUring();

function isUring(): boolean {
  const ring = openRing("auto", options);
  ring.close();
  return ring.kind === "io_uring";
}

let member: TestMember;
let ring: IoRing;
let driver: RingDriver;
let device: number;

function open(opened: IoRing): void {
  ring = opened;
  driver = new RingDriver(ring);
  device = ring.openDevice(member.path, { readOnly: false });
}

const write = (flags: number): Promise<number> => driver.run((tag) => ring.write(device, sector(8), 8, 0, flags, tag));

beforeEach(() => {
  member = fileMember();
});

afterEach(() => {
  ring.close();
  member.remove();
});

describe.skipIf(!hasUring)("UringRing asks the kernel for", () => {
  /** The submission entries, as the kernel sees them. */
  let entries: Uint32Array;

  beforeEach(() => {
    if (typeof libc === "string") return;
    const watched: Libc = {
      ...libc,
      view(address, bytes) {
        const memory = libc.view(address, bytes);
        if (bytes === options.entries * 64) entries = new Uint32Array(memory);
        return memory;
      },
    };
    open(openRing("io_uring", options, watched));
  });

  /** (opcode, operation flags) of all entries that are there. */
  const submitted = (): [number, number][] =>
    Array.from({ length: options.entries }, (_, i) => [(entries[i * 16] ?? 0) & 0xff, entries[i * 16 + 7] ?? 0]);
  const writes = (): number[] =>
    submitted()
      .filter(([opcode]) => opcode === Opcode.WRITE || opcode === Opcode.WRITE_FIXED)
      .map(([, flags]) => flags);

  it("a durable write", async () => {
    expect(await write(WRITE_DURABLE)).toBe(4096);
    expect(writes()).toEqual([RWF_DSYNC]);
  });

  it("a plain write", async () => {
    expect(await write(0)).toBe(4096);
    expect(writes()).toEqual([0]);
  });

  it("a flush", async () => {
    expect(submitted().map(([opcode]) => opcode)).not.toContain(Opcode.FSYNC);
    expect(await driver.run((tag) => ring.flush(device, tag))).toBe(0);
    expect(submitted().map(([opcode]) => opcode)).toContain(Opcode.FSYNC);
  });
});

describe("ThreadPoolRing asks the kernel for", () => {
  beforeEach(() => {
    written.length = 0;
    synced.length = 0;
    open(openRing("threads", options));
  });

  const durable = (fd: number | undefined): boolean => {
    const flags = /flags:\s*(\d+)/.exec(readFileSync(`/proc/self/fdinfo/${fd}`, "utf8"))?.[1] ?? "0";
    return (Number.parseInt(flags, 8) & constants.O_DSYNC) !== 0;
  };

  it("a durable write", async () => {
    expect(await write(WRITE_DURABLE)).toBe(4096);
    expect(written.map(durable)).toEqual([true]);
  });

  it("a plain write", async () => {
    expect(await write(0)).toBe(4096);
    expect(written.map(durable)).toEqual([false]);
  });

  it("a flush", async () => {
    expect(await driver.run((tag) => ring.flush(device, tag))).toBe(0);
    expect(synced.length).toBe(1);
  });
});
