import { afterEach, describe, expect, it } from "vitest";
import { REQUEST_FUA, REQUEST_NO_HOLE, RequestOp } from "../../src/blockdev/front-end.ts";
import type { MemorySink } from "../support/memory-sink.ts";

export interface ClientAnswer {
  /** Positive; 0: it went well. As the client's system has it. */
  readonly errno: number;
  readonly data: Buffer;
}

/** A client of the front end, in bytes. */
export interface FrontEndClient {
  read(at: number, bytes: number): Promise<ClientAnswer>;
  write(at: number, data: Buffer, options?: { readonly fua?: boolean }): Promise<ClientAnswer>;
  flush(): Promise<ClientAnswer>;
  zero(at: number, bytes: number, options?: { readonly noHole?: boolean }): Promise<ClientAnswer>;
  discard(at: number, bytes: number): Promise<ClientAnswer>;
}

export interface FrontEndHost {
  readonly sink: MemorySink;
  client(): Promise<FrontEndClient>;
  until(condition: () => boolean, what: string): Promise<void>;
  /** The array answers again. */
  letGo(): void;
  startDraining(): void;
  readonly drained: boolean;
  stop(): Promise<void>;
}

export type MakeFrontEnd = (options: { readonly readOnly?: boolean; readonly blockSize?: number }) => FrontEndHost;

const KIB = 1024;
const noise = (bytes: number): Buffer =>
  Buffer.from(Uint8Array.from({ length: bytes }, (_, i) => (i * 31 + (i >> 8)) & 255));

/** What every front end of an array does with its clients' requests, whatever they come by. */
export function frontEndSuite(name: string, make: MakeFrontEnd): void {
  describe(`front end: ${name}`, () => {
    let host: FrontEndHost;
    const open = async (options: Parameters<MakeFrontEnd>[0] = {}): Promise<FrontEndClient> => {
      host = make(options);
      host.sink.logging = true;
      return host.client();
    };
    afterEach(() => host.stop());

    it.each([512, 4 * KIB, 64 * KIB + 512, 256 * KIB])("reads %i bytes as they were written", async (bytes) => {
      const client = await open();
      const data = noise(bytes);
      expect((await client.write(4096, data)).errno).toBe(0);
      expect(host.sink.data.subarray(4096, 4096 + bytes).equals(data)).toBe(true);
      const read = await client.read(4096, bytes);
      expect(read).toMatchObject({ errno: 0 });
      expect(read.data.equals(data)).toBe(true);
    });

    it("asks for durability where the client does", async () => {
      const client = await open();
      await client.write(0, noise(512), { fua: true });
      await client.write(0, noise(512));
      await client.flush();
      expect(host.sink.log.map(({ op, flags }) => [op, flags & REQUEST_FUA])).toEqual([
        [RequestOp.write, REQUEST_FUA],
        [RequestOp.write, 0],
        [RequestOp.flush, 0],
      ]);
    });

    it("zeroes and discards ranges, however long, and says which may leave no hole", async () => {
      const client = await open();
      await client.write(0, noise(64 * KIB));
      expect((await client.zero(0, 4 * KIB, { noHole: true })).errno).toBe(0);
      expect((await client.zero(4 * KIB, 8 * KIB)).errno).toBe(0);
      expect((await client.discard(0, 8 << 20)).errno).toBe(0);
      expect(host.sink.log.slice(1).map(({ op, flags, bytes }) => [op, flags & REQUEST_NO_HOLE, bytes])).toEqual([
        [RequestOp.zero, REQUEST_NO_HOLE, 4 * KIB],
        [RequestOp.zero, 0, 8 * KIB],
        [RequestOp.discard, 0, 8 << 20],
      ]);
      expect((await client.read(0, 4 * KIB)).data.equals(Buffer.alloc(4 * KIB))).toBe(true);
    });

    it.each([
      [5, 5],
      [28, 28],
    ])("tells the client of the array's error %i", async (errno, told) => {
      const client = await open();
      host.sink.errno = errno;
      expect((await client.write(0, noise(512))).errno).toBe(told);
      expect((await client.read(0, 512)).errno).toBe(told);
      host.sink.errno = 0;
      expect((await client.read(0, 512)).errno).toBe(0);
    });

    it("keeps requests that find no room, reads apart from writes, and brings all of them in", async () => {
      const client = await open();
      host.sink.fullOfWrites = true;
      const writes = Array.from({ length: 20 }, (_, i) => client.write(i * 512, noise(512)));
      expect((await client.read(0, 512)).errno).toBe(0);
      host.sink.fullOfWrites = false;
      host.sink.capacity = 3;
      host.letGo();
      expect((await Promise.all(writes)).map(({ errno }) => errno)).toEqual(Array(20).fill(0));
      expect(host.sink.mostHeld).toBeLessThanOrEqual(3);
    });

    it("lets nobody write to a read-only array", async () => {
      const client = await open({ readOnly: true });
      expect((await client.write(0, noise(512))).errno).toBe(1);
      expect((await client.discard(0, 512)).errno).toBe(1);
      expect((await client.read(0, 512)).errno).toBe(0);
      expect(host.sink.log.map(({ op }) => op)).toEqual([RequestOp.read]);
    });

    it("is drained when what the array has in hand is answered, and not before", async () => {
      const client = await open();
      host.sink.holding = true;
      const read = client.read(0, 512);
      await host.until(() => host.sink.held === 1, "the read is in the array");
      host.startDraining();
      expect(host.drained).toBe(false);
      host.letGo();
      expect((await read).errno).toBe(0);
      await host.until(() => host.drained, "the front end is drained");
    });
  });
}
