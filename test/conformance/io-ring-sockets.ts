import { mkdtempSync, rmSync, statSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { IoRing, ListenAddress, RingOptions } from "../../src/blockdev/io-ring.ts";
import { RingDriver } from "./ring-driver.ts";

/** What every ring does with sockets, against Node's own clients. */
export function ioRingSocketConformance(name: string, openRing: (options: RingOptions) => IoRing): void {
  describe.each(["unix", "tcp"] as const)(`${name}: sockets (%s)`, (type) => {
    let folder: string;
    let ring: IoRing;
    let driver: RingDriver;
    let listener: number;
    let address: ListenAddress;
    const clients: Socket[] = [];

    beforeEach(() => {
      folder = mkdtempSync(join(tmpdir(), "mdctl-ring-"));
      ring = openRing({ entries: 8, arenaBytes: 4 << 20 });
      driver = new RingDriver(ring);
      address = type === "unix" ? { type, path: join(folder, "socket") } : { type, host: "127.0.0.1", port: 0 };
      listener = ring.listen(address);
    });

    afterEach(() => {
      for (const client of clients.splice(0)) client.destroy();
      ring.close();
      rmSync(folder, { recursive: true });
    });

    /** A client whose data is read only when asked for. */
    async function client(): Promise<Socket> {
      const socket =
        address.type === "unix"
          ? connect({ path: address.path, allowHalfOpen: true })
          : connect({ port: ring.portOf(listener), host: address.host, allowHalfOpen: true });
      clients.push(socket);
      await new Promise<void>((resolve, reject) => {
        socket.once("connect", resolve);
        socket.once("error", reject);
      });
      socket.removeAllListeners("error");
      socket.on("error", () => {});
      return socket;
    }

    async function pair(): Promise<[Socket, number]> {
      const tag = driver.tag();
      ring.accept(listener, tag);
      const peer = await client();
      const socket = await driver.result(tag);
      expect(socket).toBeGreaterThanOrEqual(0);
      return [peer, socket];
    }

    const text = (buffer: number, length: number): string =>
      Buffer.from(ring.arena.subarray(buffer, buffer + length)).toString();
    const put = (buffer: number, value: string): number => ring.arena.set(Buffer.from(value), buffer) ?? value.length;
    const receive = (socket: number, buffer: number, length: number): Promise<number> =>
      driver.run((tag) => ring.receive(socket, buffer, length, tag));
    const nextData = (peer: Socket): Promise<string> =>
      new Promise((resolve) => peer.once("data", (data) => resolve(String(data))));

    it("knows its port", () => {
      if (type === "tcp") expect(ring.portOf(listener)).toBeGreaterThan(0);
      else expect(ring.portOf(listener)).toBe(0);
    });

    it("carries data both ways", async () => {
      const [peer, socket] = await pair();
      peer.write("question");
      expect(await receive(socket, 100, 64)).toBe(8);
      expect(text(100, 8)).toBe("question");

      const answer = nextData(peer);
      put(200, "answer");
      expect(await driver.run((tag) => ring.send(socket, 200, 6, tag))).toBe(6);
      expect(await answer).toBe("answer");
    });

    it("accepts a connection that came before the accept", async () => {
      await client();
      expect(await driver.run((tag) => ring.accept(listener, tag))).toBeGreaterThanOrEqual(0);
    });

    it("waits for data that comes after the receive", async () => {
      const [peer, socket] = await pair();
      const tag = driver.tag();
      ring.receive(socket, 0, 10, tag);
      peer.write("late");
      expect(await driver.result(tag)).toBe(4);
    });

    it("receives at most what was asked for, and the rest next time", async () => {
      const [peer, socket] = await pair();
      peer.write("abcdefgh");
      expect(await receive(socket, 0, 3)).toBe(3);
      expect(await receive(socket, 3, 5)).toBe(5);
      expect(text(0, 8)).toBe("abcdefgh");
    });

    it("reports the end of the stream as 0, and can still send", async () => {
      const [peer, socket] = await pair();
      peer.end("last");
      expect(await receive(socket, 0, 64)).toBe(4);
      expect(await receive(socket, 0, 64)).toBe(0);
      const answer = nextData(peer);
      put(0, "bye");
      expect(await driver.run((tag) => ring.send(socket, 0, 3, tag))).toBe(3);
      expect(await answer).toBe("bye");
    });

    it("sends at once what the socket takes, and the rest in order", async () => {
      const [peer, socket] = await pair();
      const period = 1 << 20;
      for (let i = 0; i < period; i += 4) new DataView(ring.arena.buffer, ring.arena.byteOffset).setUint32(i, i);
      peer.pause();
      let sent = 0;
      const left = (): number => period - (sent % period);
      for (let now = 1; now !== 0 && sent < 64 * period; sent += now) {
        now = ring.sendNow(socket, sent % period, left());
        expect(now).toBeLessThanOrEqual(left());
      }
      if (ring.kind === "io_uring") expect(sent).toBeGreaterThan(4096);
      expect(sent).toBeLessThan(64 * period);

      let received = 0;
      let wrong = 0;
      const ended = new Promise<void>((resolve) => peer.once("end", resolve));
      peer.on("data", (data: Buffer) => {
        for (const byte of data) if (byte !== ring.arena[received++ % period]) wrong++;
      });
      peer.resume();
      for (const until = sent + 3 * period; sent < until; ) {
        const result = await driver.run((tag) => ring.send(socket, sent % period, left(), tag));
        expect(result).toBeGreaterThan(0);
        sent += result;
      }
      ring.closeSocket(socket);
      await ended;
      expect([received, wrong]).toEqual([sent, 0]);
    });

    it("sends nothing at once to a socket that is closed, or whose peer has gone", async () => {
      const [peer, socket] = await pair();
      const [, other] = await pair();
      ring.closeSocket(other);
      expect(ring.sendNow(other, 0, 64)).toBe(0);
      const gone = new Promise((resolve) => peer.once("close", resolve));
      peer.destroy();
      await gone;
      let sent = 1;
      for (let i = 0; i < 1000 && sent > 0; i++) sent = ring.sendNow(socket, 0, 4096);
      expect(sent).toBe(0);
    });

    it("keeps a receive that has not gone out yet away from the next socket", async () => {
      const [, socket] = await pair();
      const tag = driver.tag();
      ring.receive(socket, 0, 64, tag);
      ring.closeSocket(socket);
      const [peer, next] = await pair();
      peer.write("mine");
      expect(await receive(next, 100, 64)).toBe(4);
      expect(await driver.result(tag)).toBeLessThanOrEqual(0);
      expect(text(0, 4)).toBe("\0\0\0\0");
    });

    it("sends more than the socket holds, piece by piece and in order", async () => {
      const [peer, socket] = await pair();
      const total = 3 << 20;
      for (let i = 0; i < total; i += 4) new DataView(ring.arena.buffer, ring.arena.byteOffset).setUint32(i, i);
      const received: Buffer[] = [];
      const ended = new Promise<void>((resolve) => peer.once("end", resolve));
      peer.on("data", (data: Buffer) => received.push(data));
      for (let sent = 0; sent < total; ) {
        const result = await driver.run((tag) => ring.send(socket, sent, total - sent, tag));
        expect(result).toBeGreaterThan(0);
        sent += result;
      }
      ring.closeSocket(socket);
      await ended;
      expect(Buffer.concat(received).equals(Buffer.from(ring.arena.subarray(0, total)))).toBe(true);
    });

    it("serves several connections at a time, each its own", async () => {
      const pairs: [Socket, number][] = [];
      for (let i = 0; i < 5; i++) pairs.push(await pair());
      expect(new Set(pairs.map(([, socket]) => socket)).size).toBe(5);
      pairs.forEach(([peer], i) => {
        peer.write(`client ${i}`);
      });
      for (const [i, [, socket]] of pairs.entries()) {
        expect(await receive(socket, i * 100, 100)).toBe(8);
        expect(text(i * 100, 8)).toBe(`client ${i}`);
      }
    });

    it("ends a receive in flight when its socket is closed, and the peer sees the end", async () => {
      const [peer, socket] = await pair();
      const ended = new Promise<void>((resolve) => peer.once("end", resolve));
      peer.resume();
      const tag = driver.tag();
      ring.receive(socket, 0, 64, tag);
      ring.submitAndReap(0);
      ring.closeSocket(socket);
      expect(await driver.result(tag)).toBeLessThanOrEqual(0);
      await ended;
      expect(driver.unclaimed).toBe(0);
    });

    it("delivers nothing of a closed socket, not even what had arrived", async () => {
      const [peer, socket] = await pair();
      await new Promise((resolve) => peer.write("arrived", resolve));
      const tag = driver.tag();
      ring.receive(socket, 0, 64, tag);
      ring.closeSocket(socket);
      expect(await driver.result(tag)).toBeLessThanOrEqual(0);
    });

    it("keeps operations of a closed socket away from the next one", async () => {
      const [, socket] = await pair();
      const tag = driver.tag();
      ring.receive(socket, 0, 64, tag);
      ring.submitAndReap(0);
      ring.closeSocket(socket);
      const [peer, next] = await pair();
      peer.write("mine");
      expect(await receive(next, 100, 64)).toBe(4);
      expect(await driver.result(tag)).toBeLessThanOrEqual(0);
      expect(text(0, 4)).toBe("\0\0\0\0");
    });

    it("refuses operations on a closed socket", async () => {
      const [, socket] = await pair();
      ring.closeSocket(socket);
      expect(await receive(socket, 0, 64)).toBeLessThan(0);
      expect(await driver.run((tag) => ring.send(socket, 0, 4, tag))).toBeLessThan(0);
      expect(await driver.run((tag) => ring.accept(socket, tag))).toBeLessThan(0);
    });

    it("reports a peer that went away, and survives it", async () => {
      const [peer, socket] = await pair();
      peer.destroy();
      let result = 1;
      for (let i = 0; i < 1000 && result > 0; i++) result = await driver.run((tag) => ring.send(socket, 0, 4096, tag));
      expect(result).toBeLessThan(0);
      ring.closeSocket(socket);
      const [, next] = await pair();
      expect(next).toBeGreaterThanOrEqual(0);
    });

    it("ends an accept in flight when the listener is closed, and listens no more", async () => {
      const port = ring.portOf(listener);
      const tag = driver.tag();
      ring.accept(listener, tag);
      ring.submitAndReap(0);
      ring.closeSocket(listener);
      expect(await driver.result(tag)).toBeLessThan(0);
      const again = address.type === "unix" ? connect(address.path) : connect(port, address.host);
      clients.push(again);
      const error = await new Promise<NodeJS.ErrnoException>((resolve) => again.once("error", resolve));
      expect(["ENOENT", "ECONNREFUSED"]).toContain(error.code);
      if (address.type === "unix") {
        const { path } = address;
        expect(() => statSync(path)).toThrow("ENOENT");
      }
    });

    it("can listen again at the address of a closed listener", async () => {
      const again: ListenAddress = address.type === "tcp" ? { ...address, port: ring.portOf(listener) } : address;
      ring.closeSocket(listener);
      listener = ring.listen(again);
      const [, socket] = await pair();
      expect(socket).toBeGreaterThanOrEqual(0);
    });

    it("refuses an address in use", () => {
      const again: ListenAddress = address.type === "tcp" ? { ...address, port: ring.portOf(listener) } : address;
      expect(() => ring.listen(again)).toThrow(expect.objectContaining({ code: "E_IO" }));
    });
  });
}
