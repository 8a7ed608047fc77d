import { readFileSync, statSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { AssertionError } from "../../src/base/assert.ts";
import { type Sector, sector } from "../../src/base/units.ts";
import { type IoRing, type RingOptions, WRITE_DURABLE } from "../../src/blockdev/io-ring.ts";
import { RingDriver } from "./ring-driver.ts";

/** A fresh member for each test, at least 1 MiB long. */
export interface TestMember {
  readonly path: string;
  readonly isBlockDevice: boolean;
  remove(): void;
}

const EBADF = -9;
const EAGAIN = -11;
const ENOSPC = -28;
const EOPNOTSUPP = -95;

/** What every ring does with devices. */
export function ioRingDeviceConformance(
  name: string,
  openRing: (options: RingOptions) => IoRing,
  makeMember: () => TestMember,
): void {
  describe(`${name}: devices`, () => {
    let ring: IoRing;
    let driver: RingDriver;
    let member: TestMember;
    let device: number;
    /** Sectors of the smallest transfer. */
    let block: number;

    beforeEach(() => {
      member = makeMember();
      ring = openRing({ entries: 8, arenaBytes: 4 << 20 });
      driver = new RingDriver(ring);
      device = ring.openDevice(member.path, { readOnly: false });
      block = ring.logicalBlockSize(device) / 512;
    });

    afterEach(() => {
      ring.close();
      member.remove();
    });

    const at = (blocks: number): Sector => sector(blocks * block);
    const bytes = (blocks: number): number => blocks * block * 512;
    const fill = (buffer: number, length: number, seed: number): void => {
      for (let i = 0; i < length; i++) ring.arena[buffer + i] = (seed * 31 + i * 7 + (i >> 8)) & 0xff;
    };
    const slice = (buffer: number, length: number): Buffer => Buffer.from(ring.arena.subarray(buffer, buffer + length));

    it("has an arena on a page boundary, of the size asked for, zeroed", () => {
      expect(ring.arena.length).toBe(4 << 20);
      expect(ring.arena.every((byte) => byte === 0)).toBe(true);
    });

    it("says on one line why it is what it is", () => {
      expect(ring.about).toMatch(/^[^\n]+$/);
    });

    it("reads back what it wrote, where it wrote it", async () => {
      fill(0, bytes(4), 1);
      expect(await driver.run((tag) => ring.write(device, at(7), 4 * block, 0, 0, tag))).toBe(bytes(4));
      expect(await driver.run((tag) => ring.read(device, at(6), 6 * block, 1 << 20, tag))).toBe(bytes(6));
      expect(slice((1 << 20) + bytes(1), bytes(4))).toEqual(slice(0, bytes(4)));
      expect(slice(1 << 20, bytes(1)).every((byte) => byte === 0)).toBe(true);
      expect(slice((1 << 20) + bytes(5), bytes(1)).every((byte) => byte === 0)).toBe(true);
    });

    it("shows what is durable to other openers of the device", async () => {
      fill(0, bytes(2), 5);
      expect(await driver.run((tag) => ring.write(device, at(3), 2 * block, 0, WRITE_DURABLE, tag))).toBe(bytes(2));
      expect(await driver.run((tag) => ring.flush(device, tag))).toBe(0);
      expect(readFileSync(member.path).subarray(bytes(3), bytes(5))).toEqual(slice(0, bytes(2)));
    });

    it("moves a large transfer whole", async () => {
      const size = 512 << 10;
      fill(0, size, 9);
      expect(await driver.run((tag) => ring.write(device, at(2), size / 512, 0, 0, tag))).toBe(size);
      expect(await driver.run((tag) => ring.read(device, at(2), size / 512, 1 << 20, tag))).toBe(size);
      expect(slice(1 << 20, size).equals(slice(0, size))).toBe(true);
    });

    it("takes far more operations in one turn than it has entries, and loses none", async () => {
      const count = 200;
      const tags = Array.from({ length: count }, () => driver.tag());
      for (let i = 0; i < count; i++) fill(i * bytes(1), bytes(1), i);
      // On a busy machine what the kernel does not take at once comes back.
      const doAll = async (ask: (tag: number, i: number) => void): Promise<void> => {
        tags.forEach(ask);
        for (const [i, tag] of tags.entries()) {
          let result = await driver.result(tag);
          for (; result === EAGAIN; result = await driver.result(tag)) ask(tag, i);
          expect(result).toBe(bytes(1));
        }
      };
      await doAll((tag, i) => ring.write(device, at(i), block, i * bytes(1), 0, tag));

      const from = 2 << 20;
      await doAll((tag, i) => ring.read(device, at(i), block, from + i * bytes(1), tag));
      expect(slice(from, count * bytes(1)).equals(slice(0, count * bytes(1)))).toBe(true);
      expect(driver.unclaimed).toBe(0);
    });

    it("hands completions over in portions when more are ready than fit", async () => {
      const small = openRing({ entries: 8, arenaBytes: 1 << 20 });
      const same = small.openDevice(member.path, { readOnly: true });
      const count = small.completedTag.length * 3;
      const seen = new Set<number>();
      for (let i = 0; i < count; i++) small.read(same, at(i % 8), block, i * bytes(1), i);
      for (const limit = Date.now() + 20_000; seen.size < count && Date.now() < limit; ) {
        const reaped = small.submitAndReap(small.onReady === null ? 100 : -1);
        for (let i = 0; i < reaped; i++) seen.add(small.completedTag[i] ?? -1);
        await new Promise((resolve) => setImmediate(resolve));
      }
      expect(seen.size).toBe(count);
      small.close();
    });

    it("reads short at the end of the device and nothing past it", async () => {
      const end = readFileSync(member.path).length / 512;
      const across = await driver.run((tag) => ring.read(device, sector(end - block), 2 * block, 0, tag));
      expect([bytes(1), -5, 0]).toContain(across);
      expect([0, -5]).toContain(await driver.run((tag) => ring.read(device, sector(end + block), block, 0, tag)));
    });

    it("refuses to write or to zero past the end, and does not make a file longer", async () => {
      const end = readFileSync(member.path).length / 512;
      expect(await driver.run((tag) => ring.write(device, sector(end), block, 0, 0, tag))).toBe(ENOSPC);
      expect(await driver.run((tag) => ring.zero(device, sector(end), block, false, tag))).toBeLessThan(0);
      if (!member.isBlockDevice) expect(statSync(member.path).size).toBe(end * 512);
    });

    it.each([false, true])("zeroes a range and nothing else, or says that it cannot (punch: %s)", async (punch) => {
      const sectors = 32 * block;
      fill(0, sectors * 512, 3);
      await driver.run((tag) => ring.write(device, at(0), sectors, 0, 0, tag));
      const result = await driver.run((tag) => ring.zero(device, at(8), 8 * block, punch, tag));
      if (result === 0) ring.arena.fill(0, bytes(8), bytes(16));
      else expect(result).toBe(EOPNOTSUPP);
      await driver.run((tag) => ring.read(device, at(0), sectors, 1 << 20, tag));
      expect(slice(1 << 20, sectors * 512).equals(slice(0, sectors * 512))).toBe(true);
    });

    it("reports an IO error as a completion", async () => {
      const readOnly = ring.openDevice(member.path, { readOnly: true });
      expect(await driver.run((tag) => ring.read(readOnly, at(0), block, 0, tag))).toBe(bytes(1));
      expect(await driver.run((tag) => ring.write(readOnly, at(0), block, 0, 0, tag))).toBe(EBADF);
      ring.closeDevice(readOnly);
    });

    it("opens devices under indices of their own, and forgets a closed one", async () => {
      const other = makeMember();
      const second = ring.openDevice(other.path, { readOnly: false });
      fill(0, bytes(1), 11);
      await driver.run((tag) => ring.write(second, at(0), block, 0, 0, tag));
      await driver.run((tag) => ring.read(device, at(0), block, 1 << 20, tag));
      expect(slice(1 << 20, bytes(1)).every((byte) => byte === 0)).toBe(true);

      ring.closeDevice(second);
      expect(() => ring.logicalBlockSize(second)).toThrow(AssertionError);
      expect(await driver.run((tag) => ring.read(device, at(0), block, 1 << 20, tag))).toBe(bytes(1));
      other.remove();
    });

    it("ends while a device has what was given up, and leaves it the memory", () => {
      const ended = openRing({ entries: 8, arenaBytes: 4 << 20 });
      const same = ended.openDevice(member.path, { readOnly: true });
      ended.read(same, at(0), block, 0, 1);
      ended.submitAndReap(0);
      ended.close(1);
      // Memory that is gone would end the process.
      expect(ended.arena[2 << 20]).toBe(0);
    });

    it("refuses what is no device, by name", () => {
      const open = (path: string): unknown => ring.openDevice(path, { readOnly: true });
      expect(() => open("/nowhere/at/all")).toThrow(expect.objectContaining({ code: "E_NO_DEVICE" }));
      expect(() => open("/")).toThrow(expect.objectContaining({ code: "E_NOT_BLOCKDEV" }));
      expect(() => open("/dev/null")).toThrow(expect.objectContaining({ code: "E_NOT_BLOCKDEV" }));
    });

    it("lets no transfer leave the arena", () => {
      const end = ring.arena.length;
      expect(() => ring.read(device, at(0), block, end - 256, 1)).toThrow(AssertionError);
      expect(() => ring.write(device, at(0), block, -512, 0, 1)).toThrow(AssertionError);
    });
  });
}
