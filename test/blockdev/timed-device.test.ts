import { beforeEach, describe, expect, it } from "vitest";
import { deferred } from "../../src/base/deferred.ts";
import { sector } from "../../src/base/units.ts";
import type { BlockDevice } from "../../src/blockdev/block-device.ts";
import { TimedDevice } from "../../src/blockdev/timed-device.ts";
import { FakeClock } from "../support/fake-clock.ts";

const TIMEOUT = 1000;

describe("TimedDevice", () => {
  let clock: FakeClock;
  let answers: (() => void)[];
  let asked: string[];
  let device: TimedDevice;
  let hung: boolean;

  beforeEach(() => {
    clock = new FakeClock();
    answers = [];
    asked = [];
    hung = false;
    const ask = (what: string, then: () => void = () => {}): Promise<void> => {
      const { promise, resolve } = deferred<void>();
      asked.push(what);
      answers.push(() => {
        then();
        resolve();
      });
      return promise;
    };
    const slow: BlockDevice = {
      path: "/dev/slow",
      size: sector(100),
      logicalBlockSize: 512,
      read: (_at, into) => ask("read", () => into.fill(7)),
      write: () => ask("write"),
      flush: () => ask("flush"),
      close: () => ask("close"),
    };
    device = new TimedDevice(slow, clock, TIMEOUT, () => hung);
  });

  it("is the device as long as that answers", async () => {
    const into = new Uint8Array(512);
    const read = device.read(sector(0), into);
    await clock.advance(TIMEOUT - 1);
    answers.shift()?.();
    await read;
    expect(into[0]).toBe(7);
    await clock.advance(TIMEOUT);
  });

  it("gives up, asks nothing more, and leaves the caller's memory alone, until there is an answer", async () => {
    const into = new Uint8Array(512);
    const read = device.read(sector(0), into);
    const refused = expect(read).rejects.toThrow("cannot read /dev/slow: it has not answered for 1 s");
    await clock.advance(TIMEOUT);
    await refused;
    await expect(device.flush()).rejects.toMatchObject({ code: "E_IO" });
    expect(asked).toEqual(["read"]);
    answers.shift()?.();
    await Promise.resolve();
    expect(into[0]).toBe(0);
    const flush = device.flush();
    answers.shift()?.();
    await flush;
  });

  it("asks nothing while others know that it hangs, and is closed without being waited for", async () => {
    hung = true;
    await expect(device.write(sector(0), new Uint8Array(512))).rejects.toMatchObject({ code: "E_IO" });
    await device.close();
    expect(asked).toEqual(["close"]);
  });
});
