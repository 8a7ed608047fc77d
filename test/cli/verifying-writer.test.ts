import { expect, it } from "vitest";
import { BLOCK_BYTES } from "../../src/cli/demo/pattern.ts";
import { type BlockStore, VerifyingWriter } from "../../src/cli/demo/verifying-writer.ts";
import { SeededRandom } from "../../src/sim/random.ts";

const REFUSED = new Error("no space left on device");
const BLOCKS = 16;

/** Refuses one write, the `refused`-th; `told` counts all of them. */
function storeOf(refused: number, told: (writes: number) => void): BlockStore {
  const bytes = Buffer.alloc(BLOCKS * BLOCK_BYTES);
  let writes = 0;
  return {
    read: async (offset, length) => bytes.subarray(offset, offset + length),
    write: async (offset, data) => {
      told(++writes);
      if (writes === refused) throw REFUSED;
      data.copy(bytes, offset);
    },
  };
}

const newWriter = (): VerifyingWriter => new VerifyingWriter({ firstBlock: 0, blocks: BLOCKS }, new SeededRandom(1));

it("a load ends with its first write that is refused, and tells why", async () => {
  const stop = new AbortController();
  const store = storeOf(10, (writes) => {
    if (writes === 1000) stop.abort();
  });
  const writer = newWriter();
  expect(await writer.run(store, 4, stop.signal)).toBe(REFUSED);
  expect(stop.signal.aborted, "the other requests in flight end as well").toBe(false);
  expect((await writer.verify(store)).wrong).toEqual([]);
});

it("a load that was told to stop has nothing to tell", async () => {
  const stop = new AbortController();
  const store = storeOf(Number.POSITIVE_INFINITY, (writes) => {
    if (writes === 100) stop.abort();
  });
  expect(await newWriter().run(store, 4, stop.signal)).toBeNull();
});
