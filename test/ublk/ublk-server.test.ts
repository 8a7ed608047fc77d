import { afterEach, describe, expect, it } from "vitest";
import { IoOp } from "../../src/blockdev/ublk/uapi.ts";
import { UblkTestHost } from "../support/ublk-host.ts";

const ESHUTDOWN = 108;
const block = (byte: number): Buffer => Buffer.alloc(512, byte);

describe("UblkServer", () => {
  let host: UblkTestHost;
  afterEach(() => host.stop());

  it("leaves what was not carried out to the next server, without an answer", async () => {
    host = new UblkTestHost({ depth: 4 });
    const answered: number[] = [];
    const ask = (op: number, at: number): void =>
      void host.queues.request({ op, at, bytes: 512, data: block(1) }).then(({ result }) => answered.push(result));
    host.sink.holding = true;
    host.sink.capacity = 2;
    ask(IoOp.READ, 0);
    ask(IoOp.WRITE, 512);
    ask(IoOp.WRITE, 1024);
    await host.until(
      () => host.queues.busy === 3 && host.sink.held === 2,
      "two are in the array, and one waits for room",
    );
    host.leave();
    // The read has been begun: it is answered. The write in the array is taken back, the other was never offered.
    await host.until(() => host.sink.held === 1, "the write was cancelled");
    host.letGo();
    await host.until(() => host.drained, "the server has left");
    expect(answered).toEqual([512]);
    expect(host.queues).toMatchObject({ busy: 2, closed: true });
  });

  it("takes up nothing once it leaves", async () => {
    host = new UblkTestHost({ depth: 2 });
    host.sink.holding = true;
    const first = host.queues.request({ op: IoOp.READ, at: 0, bytes: 512 });
    await host.until(() => host.sink.held === 1, "the read is in the array");
    expect(host.server.drain(false)).toBe(false);
    void host.queues.request({ op: IoOp.READ, at: 512, bytes: 512 });
    host.leave();
    host.letGo();
    expect((await first).result).toBe(512);
    await host.until(() => host.drained, "the server has left");
    expect(host.queues.busy).toBe(1);
  });

  it("answers with an error what the array refuses to do, when the disk goes for good", async () => {
    host = new UblkTestHost();
    host.sink.holding = true;
    const write = host.queues.request({ op: IoOp.WRITE, at: 0, bytes: 512, data: block(1) });
    await host.until(() => host.sink.held === 1, "the write is in the array");
    host.startDraining();
    expect((await write).result).toBe(-5);
  });

  it("gives up what it had left when the disk then goes for good", async () => {
    host = new UblkTestHost();
    host.sink.errno = ESHUTDOWN;
    const read = host.queues.request({ op: IoOp.READ, at: 0, bytes: 512 });
    await host.until(() => host.sink.held === 0 && host.queues.busy === 1, "the array has refused it");
    host.startDraining();
    expect((await read).result).toBe(-5);
  });

  it("never answers in a way that the block layer would try again for ever", async () => {
    host = new UblkTestHost();
    for (const [errno, told] of [
      [11, -5],
      [12, -5],
      [28, -28],
      [30, -1],
      [95, -95],
    ] as const) {
      host.sink.errno = errno;
      expect((await host.queues.request({ op: IoOp.WRITE, at: 0, bytes: 512, data: block(1) })).result).toBe(told);
    }
    expect((await host.queues.request({ op: 10, at: 0, bytes: 512 })).result).toBe(-95);
  });

  it("reads beyond 2^32 sectors where they are", async () => {
    host = new UblkTestHost();
    let seen = 0;
    host.sink.submit = (_frontEnd, _op, at) => {
      seen = at;
      return false;
    };
    const read = host.queues.request({ op: IoOp.READ, at: 2 ** 42 + 512, bytes: 512 });
    await host.until(() => seen > 0, "the array was asked");
    expect(seen).toBe(2 ** 33 + 1);
    host.startDraining();
    expect((await read).result).toBe(-5);
  });

  it("goes on in another buffer when the array keeps one", async () => {
    host = new UblkTestHost({ depth: 1, spares: 1 });
    host.sink.holding = true;
    const read = host.queues.request({ op: IoOp.READ, at: 0, bytes: 512 });
    await host.until(() => host.sink.held === 1, "the read is in the array");
    const kept = 4096;
    expect(host.server.keepBuffer(0, true)).toBe(kept + 256 * 1024);
    expect(host.server.keepBuffer(0, true)).toBe(-1);
    host.letGo();
    expect((await read).result).toBe(512);
    host.server.giveBack(kept);
  });

  it("has no more requests than buffers: a tag whose buffer is kept waits for one", async () => {
    host = new UblkTestHost({ depth: 1 });
    host.sink.holding = true;
    let told: number | null = null;
    const write = host.queues.request({ op: IoOp.WRITE, at: 0, bytes: 512, data: block(7) });
    void write.then(({ result }) => {
      told = result;
    });
    await host.until(() => host.sink.held === 1, "the write is in the array");
    expect(host.server.keepBuffer(0, false)).toBe(-1);
    host.letGo();
    await host.until(() => host.sink.held === 0, "the array has answered");
    expect(told).toBe(null);
    host.server.giveBack(4096);
    expect((await write).result).toBe(512);
    expect(host.sink.data[0]).toBe(7);
  });
});
