import { describe, expect, it } from "vitest";
import { refuseRequest } from "../../src/blockdev/nbd/refuse-request.ts";

const SIZE = 1 << 20;
const exported = {
  name: "",
  size: SIZE,
  flags: 0x6d,
  minimumBlock: 512,
  preferredBlock: 4096,
  maximumPayload: 65536,
};
const [EPERM, EINVAL, ENOSPC] = [1, 22, 28];
const [READ, WRITE, DISC, FLUSH, TRIM, CACHE, ZEROES, STATUS, RESIZE] = [0, 1, 2, 3, 4, 5, 6, 7, 8];
const [FUA, NO_HOLE, DF, REQ_ONE, FAST_ZERO] = [1, 2, 4, 8, 16];

/** command, flags, offset, length, errno; structured replies, read-only. */
const table: readonly [number, number, number, number, number, boolean?, boolean?][] = [
  [READ, 0, 0, 512, 0],
  [READ, 0, SIZE - 512, 512, 0],
  [READ, 0, SIZE, 512, EINVAL],
  [READ, 0, SIZE - 512, 1024, EINVAL],
  [READ, 0, 2 ** 52, 512, EINVAL],
  [READ, 0, 2 ** 32, 512, EINVAL],
  [WRITE, 0, SIZE - 512, 512, 0],
  [WRITE, 0, SIZE, 512, ENOSPC],
  [WRITE, 0, 2 ** 52, 512, ENOSPC],
  [WRITE, 0, SIZE - 512, 0xffffffff, ENOSPC],
  [ZEROES, 0, 0, SIZE, 0],
  [ZEROES, 0, 512, SIZE, ENOSPC],
  [TRIM, 0, 0, SIZE, 0],
  [TRIM, 0, 512, SIZE, EINVAL],
  [READ, 0, 256, 512, EINVAL],
  [READ, 0, 512, 256, EINVAL],
  [WRITE, 0, 1, 512, EINVAL],
  [ZEROES, 0, 512, 1, EINVAL],
  [TRIM, 0, 511, 512, EINVAL],
  [READ, 0, 0, 65536, 0],
  [READ, 0, 0, 65536 + 512, EINVAL],
  [WRITE, 0, 0, 65536 + 512, EINVAL],
  [READ, 0, 0, 0, EINVAL],
  [WRITE, 0, 0, 0, EINVAL],
  [TRIM, 0, 0, 0, EINVAL],
  [FLUSH, 0, 0, 0, 0],
  [FLUSH, FUA, 0, 0, 0],
  [FLUSH, 0, 0, 512, EINVAL],
  [FLUSH, 0, 2 ** 40, 0, EINVAL],
  [READ, FUA, 0, 512, 0],
  [WRITE, FUA, 0, 512, 0],
  [ZEROES, FUA | NO_HOLE, 0, 512, 0],
  [TRIM, FUA, 0, 512, 0],
  [WRITE, NO_HOLE, 0, 512, EINVAL],
  [ZEROES, FAST_ZERO, 0, 512, EINVAL],
  [READ, DF, 0, 512, EINVAL],
  [READ, DF, 0, 512, 0, true],
  [WRITE, DF, 0, 512, EINVAL, true],
  [READ, 0x8000, 0, 512, EINVAL],
  [DISC, 0, 0, 0, EINVAL],
  [CACHE, 0, 0, 512, EINVAL],
  [STATUS, 0, 0, 512, EINVAL],
  [STATUS, REQ_ONE, 0, 512, EINVAL, true],
  [RESIZE, 0, 0, 512, EINVAL],
  [0xffff, 0, 0, 512, EINVAL],
  [READ, 0, 0, 512, 0, false, true],
  [FLUSH, 0, 0, 0, 0, false, true],
  [WRITE, 0, 0, 512, EPERM, false, true],
  [WRITE, 0, SIZE, 512, EPERM, false, true],
  [ZEROES, 0, 0, 512, EPERM, false, true],
  [TRIM, 0, 0, 512, EPERM, false, true],
];

describe("refuseRequest", () => {
  it.each(table)("command %i, flags %i, %i+%i: %i", (command, flags, offset, length, errno, structured, readOnly) => {
    const described = readOnly ? { ...exported, flags: exported.flags | 2 } : exported;
    const high = Math.floor(offset / 2 ** 32);
    expect(refuseRequest(described, structured ?? false, command, flags, high, offset % 2 ** 32, length)).toBe(errno);
  });

  it("does not take an offset near 2^64 for one near 0", () => {
    expect(refuseRequest(exported, false, WRITE, 0, 0xffffffff, 0xfffffe00, 1024)).toBe(ENOSPC);
    expect(refuseRequest(exported, false, READ, 0, 0x80000000, 0, 512)).toBe(EINVAL);
  });
});
