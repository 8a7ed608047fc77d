import { spawnSync } from "node:child_process";
import { chmodSync, lstatSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { listenOnSocket, refuseSecondDaemon } from "../../src/daemon/socket-file.ts";
import { tempDir } from "../support/temp-dir.ts";

/** F43: nothing that is not ours is followed, replaced or removed. */
let folder: ReturnType<typeof tempDir>;
let path: string;
const servers: Server[] = [];

beforeEach(() => {
  folder = tempDir("socket");
  path = join(folder.path, "mdctld.sock");
});
afterEach(() => {
  for (const server of servers.splice(0)) server.close();
  folder.remove();
});

const server = (): Server => {
  const made = createServer();
  servers.push(made);
  return made;
};

it("has mode 0600 whatever the umask is, and goes away with its server", async () => {
  const umask = process.umask(0);
  try {
    const remove = await listenOnSocket(server(), path);
    expect(lstatSync(path).mode & 0o777).toBe(0o600);
    remove();
    expect(lstatSync(path, { throwIfNoEntry: false })).toBeUndefined();
  } finally {
    process.umask(umask);
  }
});

it("makes its folder", async () => {
  const deep = join(folder.path, "run", "mdctl", "x.sock");
  await listenOnSocket(server(), deep);
  expect(lstatSync(deep).isSocket()).toBe(true);
});

it("refuses where another daemon listens, and leaves its socket", async () => {
  await listenOnSocket(server(), path);
  const { ino } = lstatSync(path);
  await expect(listenOnSocket(server(), path)).rejects.toMatchObject({ code: "E_DAEMON" });
  await expect(refuseSecondDaemon(path)).rejects.toMatchObject({ code: "E_DAEMON" });
  expect(lstatSync(path).ino).toBe(ino);
});

it("replaces the socket of a daemon that died", async () => {
  // What SIGKILL leaves behind: the file, and nobody behind it.
  const script = `require("net").createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, "SIGKILL"))`;
  spawnSync(process.execPath, ["-e", script]);
  expect(lstatSync(path).isSocket()).toBe(true);
  await refuseSecondDaemon(path);
  await listenOnSocket(server(), path);
  await expect(refuseSecondDaemon(path)).rejects.toMatchObject({ code: "E_DAEMON" });
});

it.each([
  ["a regular file", () => writeFileSync(path, "mine")],
  ["a folder", () => mkdirSync(path)],
  [
    "a symbolic link to a file",
    () => {
      writeFileSync(join(folder.path, "target"), "mine");
      symlinkSync(join(folder.path, "target"), path);
    },
  ],
  ["a dangling symbolic link", () => symlinkSync(join(folder.path, "nothing"), path)],
])("refuses %s in its place, and leaves it", async (_what, put) => {
  put();
  const before = lstatSync(path);
  await expect(listenOnSocket(server(), path)).rejects.toMatchObject({ code: "E_DAEMON" });
  expect(lstatSync(path).ino).toBe(before.ino);
  if (before.isFile()) expect(readFileSync(path, "utf8")).toBe("mine");
  rmSync(path, { recursive: true });
});

it("refuses a folder that everybody may write to, unless only owners may remove there", async () => {
  chmodSync(folder.path, 0o777);
  await expect(listenOnSocket(server(), path)).rejects.toMatchObject({ code: "E_PERMISSION" });
  chmodSync(folder.path, 0o1777);
  await listenOnSocket(server(), path);
});

it("refuses a path that no socket can have", async () => {
  await expect(listenOnSocket(server(), `/${"x".repeat(200)}`)).rejects.toMatchObject({ code: "E_VALUE" });
  await expect(listenOnSocket(server(), "/tmp/a\0b")).rejects.toMatchObject({ code: "E_VALUE" });
});

it("does not remove what took its place", async () => {
  const remove = await listenOnSocket(server(), path);
  rmSync(path);
  writeFileSync(path, "another's");
  remove();
  expect(readFileSync(path, "utf8")).toBe("another's");
});
