import { Worker } from "node:worker_threads";
import { describe, expect, it } from "vitest";
import type { IoRing, WakeHandle } from "../../src/blockdev/io-ring.ts";
import { openRing } from "../../src/blockdev/open-ring.ts";
import { type Libc, loadLibc } from "../../src/blockdev/uring/libc.ts";
import { wakeRing } from "../../src/blockdev/wake-ring.ts";

import { canMakeLoopDevices, loopMember } from "./test-member.ts";

const options = { entries: 8, arenaBytes: 64 << 10 };
const libc = loadLibc();
const hasUring = openAndClose("auto").kind === "io_uring";

function openAndClose(...values: [Parameters<typeof openRing>[0], (Libc | string)?]): { kind: string; about: string } {
  const ring = openRing(values[0], options, ...(values[1] === undefined ? [] : ([values[1]] as const)));
  const { kind, about } = ring;
  ring.close();
  return { kind, about };
}

describe.skipIf(typeof libc === "string")("openRing on a kernel", () => {
  if (typeof libc === "string") return;

  it.each([
    ["that forbids io_uring", -1, "EPERM"],
    ["that was built without it", -38, "ENOSYS"],
    ["that is out of memory", -12, "ENOMEM"],
  ])("%s falls back to threads, and says why", (_, result, name) => {
    const refusing: Libc = { ...libc, ioUringSetup: () => result };
    expect(openAndClose("auto", refusing)).toMatchObject({ kind: "threads", about: expect.stringContaining(name) });
    expect(() => openRing("io_uring", options, refusing)).toThrow(expect.objectContaining({ code: "E_IO" }));
  });

  it.skipIf(!hasUring)("whose io_uring cannot wait with a timeout falls back to threads", () => {
    const old: Libc = {
      ...libc,
      ioUringSetup(entries, params) {
        const fd = libc.ioUringSetup(entries, params);
        const view = new DataView(params.buffer, params.byteOffset);
        view.setUint32(20, view.getUint32(20, true) & 0xff, true);
        return fd;
      },
    };
    expect(openAndClose("auto", old)).toMatchObject({ kind: "threads", about: expect.stringContaining("too old") });
  });

  it.skipIf(!hasUring)("that gives a ring but carries nothing out falls back to threads", () => {
    // As a seccomp profile that allows setup alone.
    const mute: Libc = { ...libc, ioUringEnter: (...values) => (values[1] > 0 ? -11 : libc.ioUringEnter(...values)) };
    expect(openAndClose("auto", mute)).toMatchObject({ kind: "threads", about: expect.stringContaining("no NOP") });
  });

  it.skipIf(!hasUring)("that allows it uses it", () => {
    expect(openAndClose("auto")).toMatchObject({ kind: "io_uring" });
    expect(openAndClose("io_uring").about).toMatch(/^io_uring, /);
  });

  it("uses threads when told to", () => {
    expect(openAndClose("threads")).toMatchObject({ kind: "threads", about: expect.stringContaining("chosen") });
  });
});

describe("openRing without foreign calls", () => {
  it("falls back to threads, and cannot listen", () => {
    const ring = openRing("auto", options, "no foreign calls: not on this machine");
    expect(ring.kind).toBe("threads");
    expect(() => ring.listen({ type: "tcp", host: "127.0.0.1", port: 0 })).toThrow(
      expect.objectContaining({ code: "E_IO" }),
    );
    ring.close();
  });
});

/** Runs an async function's source in a worker that can import our sources by name, with `parentPort` at hand. */
function startWorker(source: string, workerData: unknown): Worker {
  const folder = new URL("../../src/blockdev/", import.meta.url).href;
  const code = `
    const { parentPort, workerData } = require("node:worker_threads");
    const load = (name) => import(${JSON.stringify(folder)} + name);
    import("tsx/esm/api").then(({ register }) => {
      register();
      return (${source})(workerData);
    });`;
  return new Worker(code, { eval: true, workerData });
}

describe.skipIf(!canMakeLoopDevices)("a block device without aligned memory", () => {
  it("is refused: its cached pages may be older than the disk", () => {
    const member = loopMember(512);
    const ring = openRing("threads", options, "no foreign calls: for the test");
    expect(() => ring.openDevice(member.path, { readOnly: true })).toThrow(
      expect.objectContaining({ code: "E_IO", message: expect.stringContaining("O_DIRECT") }),
    );
    ring.close();
    member.remove();
  });
});

describe.skipIf(!hasUring)("a waiting io_uring ring", () => {
  const stopFlag = new SharedArrayBuffer(4);
  const withRing = async (test: (ring: IoRing) => void | Promise<void>): Promise<void> => {
    const ring = openRing("io_uring", options);
    await test(ring);
    ring.close();
  };

  it("goes on after its time", () => withRing((ring) => expect(ring.submitAndReap(20)).toBe(0)));

  it("does not wait when told so", () => withRing((ring) => expect(ring.submitAndReap(0)).toBe(0)));

  it("is woken by a wake that came before it waited, each time", () =>
    withRing((ring) => {
      for (let i = 0; i < 3; i++) {
        wakeRing(ring.wakeHandle);
        expect(ring.submitAndReap(-1)).toBe(0);
      }
    }));

  it("is woken by another thread while it blocks this one", () =>
    withRing(async (ring) => {
      const woken = new Int32Array(new SharedArrayBuffer(4));
      const worker = startWorker(
        `async ({ handle, woken }) => {
          const { wakeRing } = await load("wake-ring.ts");
          Atomics.store(woken, 0, 1);
          wakeRing(handle);
        }`,
        { handle: ring.wakeHandle, woken },
      );
      // The event loop does not turn from here on: only the other thread can end this.
      while (Atomics.load(woken, 0) === 0) expect(ring.submitAndReap(-1)).toBe(0);
      await worker.terminate();
    }));

  it("lives in a worker, and is woken from here", async () => {
    const worker = startWorker(
      `async ({ stop }) => {
        const { openRing } = await load("open-ring.ts");
        const ring = openRing("io_uring", { entries: 8, arenaBytes: 65536 });
        parentPort.postMessage(ring.wakeHandle);
        while (Atomics.load(stop, 0) === 0) ring.submitAndReap(-1);
        ring.close();
        parentPort.postMessage("closed");
      }`,
      { stop: new Int32Array(stopFlag) },
    );
    const handle = await new Promise<WakeHandle>((resolve) => worker.once("message", resolve));
    const closed = new Promise((resolve) => worker.once("message", resolve));
    Atomics.store(new Int32Array(stopFlag), 0, 1);
    wakeRing(handle);
    expect(await closed).toBe("closed");
    await worker.terminate();
  });
});

describe("a ring of threads", () => {
  it("calls its owner after a wait, after completions, and once more after a turn that reaped any", async () => {
    const ring = openRing("threads", options);
    const turns: number[] = [];
    const enough = new Promise<void>((resolve) => {
      ring.onReady?.set(() => {
        const reaped = ring.submitAndReap(turns.length < 4 ? 1 : -1);
        turns.push(reaped);
        if (turns.length === 2) ring.zero(0, 0 as never, 8, false, 77);
        if (turns.length === 5) resolve();
      });
    });
    await enough;
    expect(turns).toEqual([0, 0, 1, 0, 0]);
    ring.close();
  });
});
