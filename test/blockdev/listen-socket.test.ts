import {
  chmodSync,
  chownSync,
  closeSync,
  existsSync,
  lstatSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type ListeningSocket, listenSocket } from "../../src/blockdev/listen-socket.ts";
import { type Libc, loadLibc } from "../../src/blockdev/uring/libc.ts";

const libc = loadLibc();

describe.skipIf(typeof libc === "string")("listenSocket", () => {
  if (typeof libc === "string") return;
  let folder: string;
  let path: string;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "mdctl-listen-"));
    path = join(folder, "socket");
  });

  afterEach(() => rmSync(folder, { recursive: true }));

  const listen = (): ListeningSocket => listenSocket(libc, { type: "unix", path });
  const end = ({ fd, unlink }: ListeningSocket): void => {
    unlink();
    closeSync(fd);
  };
  const mode = (): number => lstatSync(path).mode & 0o777;

  it.each([0o000, 0o022, 0o777])("makes a socket that is its owner's alone, whatever the umask (%i)", (mask) => {
    const before = process.umask(mask);
    const socket = listen();
    process.umask(before);
    expect(mode()).toBe(0o600);
    end(socket);
  });

  it("is never open to others, not even for the moment between its making and a change of its mode", () => {
    const modes: number[] = [];
    const watched: Libc = {
      ...libc,
      bind(fd, address) {
        const result = libc.bind(fd, address);
        modes.push(mode());
        return result;
      },
    };
    const before = process.umask(0);
    const socket = listenSocket(watched, { type: "unix", path });
    process.umask(before);
    expect(modes).toEqual([0o600]);
    end(socket);
  });

  it("does not follow a symbolic link", () => {
    symlinkSync(join(folder, "elsewhere"), path);
    expect(listen).toThrow(expect.objectContaining({ code: "E_IO" }));
    expect(existsSync(join(folder, "elsewhere"))).toBe(false);
    expect(lstatSync(path).isSymbolicLink()).toBe(true);
  });

  it("does not replace a file that is no socket", () => {
    writeFileSync(path, "precious");
    expect(listen).toThrow(expect.objectContaining({ code: "E_IO" }));
    expect(readFileSync(path, "utf8")).toBe("precious");
  });

  it("replaces a socket that nobody listens on any more", () => {
    closeSync(listen().fd);
    expect(lstatSync(path).isSocket()).toBe(true);
    const again = listen();
    expect(mode()).toBe(0o600);
    end(again);
  });

  it("leaves the socket of a living server alone", async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(path, resolve));
    const inode = lstatSync(path).ino;
    expect(listen).toThrow(expect.objectContaining({ code: "E_IO", message: expect.stringContaining("in use") }));
    expect(lstatSync(path).ino).toBe(inode);
    await new Promise((resolve) => server.close(resolve));
  });

  it.skipIf(process.getuid?.() !== 0)("leaves another user's stale socket alone", () => {
    closeSync(listen().fd);
    chownSync(path, 65534, 65534);
    expect(listen).toThrow(expect.objectContaining({ code: "E_PERMISSION" }));
    expect(lstatSync(path).uid).toBe(65534);
  });

  it("does not listen in a folder where anybody may rename files", () => {
    chmodSync(folder, 0o777);
    expect(listen).toThrow(expect.objectContaining({ code: "E_PERMISSION" }));
    chmodSync(folder, 0o1777);
    end(listen());
  });

  it("removes only the file that it made", () => {
    const socket = listen();
    renameSync(path, join(folder, "moved"));
    writeFileSync(path, "somebody else's");
    end(socket);
    expect(readFileSync(path, "utf8")).toBe("somebody else's");
  });

  it.each([
    ["an empty path", { type: "unix", path: "" }],
    ["a path with a NUL (the abstract names)", { type: "unix", path: "\0name" }],
    ["a path that does not fit", { type: "unix", path: `/tmp/${"x".repeat(200)}` }],
    ["a host name", { type: "tcp", host: "example.org", port: 0 }],
    ["a port out of range", { type: "tcp", host: "127.0.0.1", port: 70_000 }],
  ] as const)("refuses %s", (_, address) => {
    expect(() => listenSocket(libc, address)).toThrow(expect.objectContaining({ code: "E_VALUE" }));
  });

  it.each(["127.0.0.1", "localhost", "::1", "0:0:0:0:0:0:0:1", "::ffff:127.0.0.1"])("listens on %s", (host) => {
    // ::ffff: is IPv4 in disguise, and our IPv6 sockets are IPv6 only.
    const start = (): ListeningSocket => listenSocket(libc, { type: "tcp", host, port: 0 });
    if (host.startsWith("::ffff")) {
      expect(start).toThrow(expect.objectContaining({ code: "E_IO" }));
      return;
    }
    const socket = start();
    expect(socket.port).toBeGreaterThan(0);
    end(socket);
  });
});
