import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { loadLibc } from "../../src/blockdev/uring/libc.ts";
import { RingFiles } from "../../src/blockdev/uring/ring-files.ts";
import { RingSockets } from "../../src/blockdev/uring/ring-sockets.ts";

const EINVAL = -22;
const ECANCELED = -125;
const libc = loadLibc();

describe.skipIf(typeof libc === "string")("RingSockets", () => {
  if (typeof libc === "string") return;
  let folder: string;
  let files: RingFiles;
  let sockets: RingSockets;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "mdctl-sockets-"));
    files = new RingFiles({ ...libc, ioUringRegister: () => EINVAL }, -1, new Uint32Array(8), 0);
    sockets = new RingSockets(libc, files);
  });

  afterEach(() => {
    files.closeAll(false);
    rmSync(folder, { recursive: true });
  });

  const listen = (name: string): number => sockets.listen({ type: "unix", path: join(folder, name) });

  it("keeps index and descriptor of a closed socket until its last operation is back", () => {
    const socket = listen("a");
    expect([sockets.begin(socket), sockets.begin(socket)]).toEqual([true, true]);
    sockets.close(socket);
    expect(sockets.begin(socket)).toBe(false);
    expect(listen("b")).not.toBe(socket);

    expect(sockets.end(socket, EINVAL)).toBe(EINVAL);
    expect(files.fd(socket)).toBeGreaterThanOrEqual(0);
    expect(listen("c")).not.toBe(socket);

    expect(sockets.end(socket, 17)).toBe(ECANCELED);
    expect(files.fd(socket)).toBe(-1);
    expect(listen("d")).toBe(socket);
  });

  it("closes a connection that is accepted for a closed listener", () => {
    const listener = listen("a");
    sockets.begin(listener);
    sockets.close(listener);
    const connection = libc.socket(1, 1, 0);
    expect(sockets.endAccept(listener, connection)).toBe(ECANCELED);
    // The number is free again: the next descriptor gets it.
    const next = libc.socket(1, 1, 0);
    expect(next).toBeLessThanOrEqual(connection);
    files.add(next);
  });

  it("refuses a connection when the ring holds no more files, and closes it", () => {
    const listener = listen("a");
    const full = Array.from({ length: 1023 }, () => files.add(libc.socket(1, 1, 0)));
    expect(full.every((index) => index > 0)).toBe(true);
    sockets.begin(listener);
    const connection = libc.socket(1, 1, 0);
    expect(sockets.endAccept(listener, connection)).toBe(-24);
    const next = libc.socket(1, 1, 0);
    expect(next).toBe(connection);
    files.remove(full[0] ?? 0);
    expect(files.add(next)).toBe(full[0]);
  });
});
