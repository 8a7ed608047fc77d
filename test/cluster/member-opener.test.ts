import { beforeEach, describe, expect, it } from "vitest";
import { deferred } from "../../src/base/deferred.ts";
import { sector } from "../../src/base/units.ts";
import type { BlockDevice } from "../../src/blockdev/block-device.ts";
import { WriteLease } from "../../src/cluster/leased-device.ts";
import { MemberOpener } from "../../src/cluster/member-opener.ts";
import { SharedBlock } from "../../src/engine/shared-block.ts";
import { FakeClock } from "../support/fake-clock.ts";

const TIMEOUT = 1000;
const PATH = "/dev/slow";

describe("F17: a device that has not answered is opened for nothing else", () => {
  let clock: FakeClock;
  let opener: MemberOpener;
  let answer: () => void;

  beforeEach(() => {
    clock = new FakeClock();
    const shared = new SharedBlock();
    shared.setLease(Number.POSITIVE_INFINITY);
    const { promise, resolve } = deferred<void>();
    answer = resolve;
    const device: BlockDevice = {
      path: PATH,
      size: sector(100),
      logicalBlockSize: 512,
      read: async () => {},
      write: () => promise,
      flush: async () => {},
      close: async () => {},
    };
    opener = new MemberOpener(async () => device, new WriteLease(shared, clock), clock, TIMEOUT);
  });

  const open = (): Promise<BlockDevice> => opener.open(PATH, { readOnly: false });
  const refused = { code: "E_DEVICE_BUSY" };

  it("for what the data plane has given up", async () => {
    opener.owes(PATH);
    await expect(open()).rejects.toMatchObject(refused);
    opener.answered(PATH);
    await open();
  });

  it("but is used on by whoever has it open, unless it does not answer at all", async () => {
    const device = await open();
    opener.owes(PATH);
    await device.flush();
    opener.hangs(PATH);
    await expect(device.flush()).rejects.toMatchObject({ code: "E_IO" });
  });

  it("for what the control plane has given up: an old superblock could land on a new one", async () => {
    const device = await open();
    const written = expect(device.write(sector(0), new Uint8Array(512))).rejects.toMatchObject({ code: "E_IO" });
    await clock.advance(TIMEOUT);
    await written;
    await expect(open()).rejects.toMatchObject(refused);
    answer();
    await clock.advance(0);
    await open();
  });
});
