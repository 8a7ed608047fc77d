import { describe } from "vitest";
import type { IoRing, RingOptions } from "../../src/blockdev/io-ring.ts";
import { openRing } from "../../src/blockdev/open-ring.ts";
import { loadLibc } from "../../src/blockdev/uring/libc.ts";
import { ioRingDeviceConformance } from "../conformance/io-ring.ts";
import { ioRingSocketConformance } from "../conformance/io-ring-sockets.ts";
import { strangeKernels } from "./strange-kernels.ts";
import { canMakeLoopDevices, fileMember, loopMember, sharedMemoryFolder } from "./test-member.ts";

const uring = (options: RingOptions): IoRing => openRing("io_uring", options);
const threads = (options: RingOptions): IoRing => openRing("threads", options);
const threadsAlone = (options: RingOptions): IoRing => openRing("threads", options, "no foreign calls: for the test");
const hasUring = openRing("auto", { entries: 8, arenaBytes: 4096 }).kind === "io_uring";

describe.skipIf(!hasUring)("UringRing", () => {
  ioRingDeviceConformance("file", uring, () => fileMember());
  ioRingSocketConformance("io_uring", uring);
  describe.skipIf(sharedMemoryFolder === null)("on tmpfs", () => {
    ioRingDeviceConformance("tmpfs", uring, () => fileMember(sharedMemoryFolder ?? ""));
  });
  describe.skipIf(!canMakeLoopDevices).each([512, 4096])("on a disk with blocks of %i bytes", (size) => {
    ioRingDeviceConformance("loop", uring, () => loopMember(size));
  });

  const libc = loadLibc();
  if (typeof libc === "string") return;
  describe.each(strangeKernels(libc))("when $name", ({ libc: strange }) => {
    ioRingDeviceConformance(
      "file",
      (options) => openRing("io_uring", options, strange),
      () => fileMember(),
    );
    ioRingSocketConformance("io_uring", (options) => openRing("io_uring", options, strange));
  });
});

describe("ThreadPoolRing", () => {
  ioRingDeviceConformance("file", threads, () => fileMember());
  ioRingSocketConformance("threads", threads);
  describe.skipIf(sharedMemoryFolder === null)("on tmpfs", () => {
    ioRingDeviceConformance("tmpfs", threads, () => fileMember(sharedMemoryFolder ?? ""));
  });
  describe.skipIf(!canMakeLoopDevices).each([512, 4096])("on a disk with blocks of %i bytes", (size) => {
    ioRingDeviceConformance("loop", threads, () => loopMember(size));
  });
  describe("without foreign calls", () => {
    ioRingDeviceConformance("file", threadsAlone, () => fileMember());
  });
});
