import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { AssertionError } from "../../src/base/assert.ts";
import { sector } from "../../src/base/units.ts";
import type { BlockDevice } from "../../src/blockdev/block-device.ts";

export interface TestBlockDevice {
  readonly device: BlockDevice;
  /** Sectors that it must have. */
  readonly size: number;
  remove(): Promise<void>;
}

/** What every device of the control plane does. It comes zeroed and at least 1 MiB long. */
export function blockDeviceConformance(name: string, make: () => Promise<TestBlockDevice>): void {
  describe(name, () => {
    let made: TestBlockDevice;
    let device: BlockDevice;
    let block: number;

    beforeEach(async () => {
      made = await make();
      device = made.device;
      block = device.logicalBlockSize;
    });

    afterEach(() => made.remove());

    const at = (blocks: number) => sector((blocks * block) / 512);
    const pattern = (bytes: number, seed: number): Uint8Array =>
      Uint8Array.from({ length: bytes }, (_, i) => (seed + i * 13 + (i >> 8)) & 0xff);
    const read = async (blocks: number, bytes: number): Promise<Uint8Array> => {
      const into = new Uint8Array(bytes);
      await device.read(at(blocks), into);
      return into;
    };

    it("knows its size and its block size", () => {
      expect(device.size).toBe(made.size);
      expect([512, 4096]).toContain(block);
    });

    it("reads back what was written, where it was written", async () => {
      await device.write(at(3), pattern(2 * block, 1));
      expect(await read(3, 2 * block)).toEqual(pattern(2 * block, 1));
      expect(await read(2, block)).toEqual(new Uint8Array(block));
      expect(await read(5, block)).toEqual(new Uint8Array(block));
    });

    it("takes memory at any address", async () => {
      const odd = new Uint8Array(block + 3).subarray(3);
      odd.set(pattern(block, 2));
      await device.write(at(1), odd);
      const into = new Uint8Array(block + 1).subarray(1);
      await device.read(at(1), into);
      expect(into).toEqual(odd);
    });

    it("moves more than it has memory for", async () => {
      const bytes = 640 << 10;
      await device.write(at(1), pattern(bytes, 3));
      await device.flush();
      expect(Buffer.from(await read(1, bytes)).equals(pattern(bytes, 3))).toBe(true);
    });

    it("carries out what is asked at the same time as if in order", async () => {
      const writes = Array.from({ length: 20 }, (_, i) => device.write(at(i % 4), pattern(block, i)));
      const last = read(3, block);
      await Promise.all(writes);
      expect(await last).toEqual(pattern(block, 19));
      expect(await read(0, block)).toEqual(pattern(block, 16));
    });

    it("reads and writes its last block, and nothing past it", async () => {
      const end = (made.size * 512) / block;
      await device.write(at(end - 1), pattern(block, 4));
      expect(await read(end - 1, block)).toEqual(pattern(block, 4));
      const error = { code: "E_IO", message: expect.stringContaining(device.path) as string };
      await expect(device.write(at(end), pattern(block, 5))).rejects.toMatchObject(error);
      await expect(device.write(at(end - 1), pattern(2 * block, 5))).rejects.toMatchObject(error);
      await expect(read(end, block)).rejects.toMatchObject(error);
      expect(await read(end - 1, block)).toEqual(pattern(block, 4));
    });

    it("takes whole blocks only", async () => {
      await expect(device.read(at(0), new Uint8Array(block - 1))).rejects.toThrow(AssertionError);
      await expect(device.write(at(0), new Uint8Array(100))).rejects.toThrow(AssertionError);
      if (block > 512) await expect(device.read(sector(1), new Uint8Array(block))).rejects.toThrow(AssertionError);
    });

    it("refuses everything once it is closed, and may be closed twice", async () => {
      await device.close();
      await device.close();
      await expect(read(0, block)).rejects.toMatchObject({ code: "E_IO" });
      await expect(device.write(at(0), pattern(block, 6))).rejects.toMatchObject({ code: "E_IO" });
      await expect(device.flush()).rejects.toMatchObject({ code: "E_IO" });
    });

    it("finishes what was asked before it closes", async () => {
      const write = device.write(at(0), pattern(block, 7));
      const seen = read(0, block);
      await device.close();
      await write;
      expect(await seen).toEqual(pattern(block, 7));
    });
  });
}
