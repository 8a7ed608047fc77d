import { lstatSync, mkdirSync, type Stats, statSync, unlinkSync } from "node:fs";
import { connect, type Server } from "node:net";
import { dirname } from "node:path";
import { MdError } from "../base/md-error.ts";

const UNIX_PATH_MAX = 107;

/**
 * Makes `server` listen on a Unix socket of mode 0600. What is there already is replaced only if it is a socket of
 * ours on which nobody listens. E_DAEMON when another process does, E_PERMISSION for a folder that everybody may
 * write to or a socket of another user, E_VALUE for a path that cannot be one. Resolves with how to take it away
 * again.
 */
export async function listenOnSocket(server: Server, path: string): Promise<() => void> {
  if (Buffer.byteLength(path) > UNIX_PATH_MAX || path.includes("\0")) {
    throw new MdError("E_VALUE", `the socket path is longer than ${UNIX_PATH_MAX} bytes: ${path.slice(0, 120)}`);
  }
  makeFolder(dirname(path));
  await makeWay(path);
  const umask = process.umask(0o177);
  try {
    await listen(server, path);
  } finally {
    process.umask(umask);
  }
  const made = lstatSync(path);
  return () => unlinkIfSame(path, made);
}

function makeFolder(folder: string): void {
  mkdirSync(folder, { recursive: true, mode: 0o755 });
  const { mode } = statSync(folder);
  if ((mode & 0o1002) !== 0o0002) return;
  throw new MdError("E_PERMISSION", `the folder ${folder} is writable by everybody`, {
    why: "anybody could put another socket in the place of this one",
    hint: `chmod o-w ${folder}`,
  });
}

/** E_DAEMON when somebody listens on `path` already. */
export async function refuseSecondDaemon(path: string): Promise<void> {
  if (lstatSync(path, { throwIfNoEntry: false })?.isSocket() !== true || !(await answers(path))) return;
  throw new MdError("E_DAEMON", `another daemon listens on ${path}`, { hint: `mdctl --socket=${path} ping` });
}

async function makeWay(path: string): Promise<void> {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found === undefined) return;
  if (!found.isSocket()) {
    throw new MdError("E_DAEMON", `${path} exists and is not a socket`, {
      why: "what is not ours is neither followed nor removed",
    });
  }
  if (found.uid !== process.geteuid?.()) {
    throw new MdError("E_PERMISSION", `the socket ${path} belongs to another user`);
  }
  await refuseSecondDaemon(path);
  unlinkIfSame(path, found);
}

/** Anything but a refusal means that somebody is there. */
function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect(path);
    probe.once("connect", () => {
      probe.destroy();
      resolve(true);
    });
    probe.once("error", (error: NodeJS.ErrnoException) =>
      resolve(error.code !== "ECONNREFUSED" && error.code !== "ENOENT"),
    );
  });
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) => {
      const code = error.code === "EACCES" || error.code === "EPERM" ? "E_PERMISSION" : "E_DAEMON";
      reject(new MdError(code, `cannot listen on ${path}`, { why: error.message, cause: error }));
    });
    server.listen(path, resolve);
  });
}

function unlinkIfSame(path: string, made: Stats): void {
  const now = lstatSync(path, { throwIfNoEntry: false });
  if (now?.ino === made.ino && now.dev === made.dev) unlinkSync(path);
}
