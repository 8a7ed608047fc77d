import { linkSync, lstatSync, renameSync, rmSync, type Stats, statSync } from "node:fs";
import { connect, type Server } from "node:net";
import { dirname } from "node:path";
import { MdError } from "../../base/md-error.ts";

const ATTEMPTS = 10;
/** sockaddr_un holds 107 bytes, and the temporary names are longer than the path. */
const LONGEST_PATH = 88;
/** Several servers of one process (tests) must not share a temporary name. */
let claims = 0;

/**
 * Makes `server` listen at `path`, mode 0600; answers false if a living server has it already. It binds a name of its
 * own and links it to `path`, so that `path` never leads to a socket that nobody listens on yet. A stale socket is
 * taken away only after it refused a connection, and only if it is still that socket.
 * Throws E_PERMISSION if something at `path` is not ours to replace, or others may write to the directory; E_VALUE if
 * the path is too long.
 */
export async function claimSocket(server: Server, path: string): Promise<boolean> {
  checkDirectory(dirname(path));
  if (Buffer.byteLength(path) > LONGEST_PATH) {
    throw new MdError("E_VALUE", `${path}: a socket path has at most ${LONGEST_PATH} bytes`);
  }
  claims += 1;
  const own = `${path}.${process.pid}.${claims}`;
  rmSync(own, { force: true });
  await listen(server, own);
  try {
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      if (tryLink(own, path)) return true;
      if (await clearStale(path, `${own}.stale`)) return false;
    }
  } finally {
    rmSync(own, { force: true });
  }
  throw new MdError("E_DAEMON", `cannot take over the socket ${path}: others try to do the same`);
}

function checkDirectory(directory: string): void {
  const { mode } = statSync(directory);
  const sticky = (mode & 0o1000) !== 0;
  if ((mode & 0o022) === 0 || sticky) return;
  throw new MdError("E_PERMISSION", `${directory} can be written by others: no place for the lock server's socket`);
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    const mask = process.umask(0o177);
    server.listen(path, () => {
      server.off("error", reject);
      resolve();
    });
    process.umask(mask);
  });
}

function tryLink(own: string, path: string): boolean {
  try {
    linkSync(own, path);
    return true;
  } catch (error) {
    if (codeOf(error) === "EEXIST") return false;
    throw error;
  }
}

/** True: a living server answers at `path`. False: there is nothing any more. */
async function clearStale(path: string, aside: string): Promise<boolean> {
  const found = lstatOrNull(path);
  if (found === null) return false;
  if (!found.isSocket() || found.uid !== process.getuid?.()) {
    throw new MdError("E_PERMISSION", `${path} exists and is not a socket of ours`);
  }
  if (await answers(path)) return true;
  try {
    renameSync(path, aside);
  } catch (error) {
    if (codeOf(error) === "ENOENT") return false;
    throw error;
  }
  // Somebody was faster and this is already a new server's socket: back with it.
  if (lstatSync(aside).ino !== found.ino) tryLink(aside, path);
  rmSync(aside, { force: true });
  return false;
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const probe = connect(path);
    probe.once("connect", () => {
      probe.destroy();
      resolve(true);
    });
    probe.once("error", (error) => {
      const code = codeOf(error);
      if (code === "ECONNREFUSED" || code === "ENOENT") resolve(false);
      // A full queue of connections is a sign of life.
      else if (code === "EAGAIN") resolve(true);
      else reject(error);
    });
  });
}

export function lstatOrNull(path: string): Stats | null {
  try {
    return lstatSync(path);
  } catch (error) {
    if (codeOf(error) === "ENOENT") return null;
    throw error;
  }
}

const codeOf = (error: unknown): unknown => (error instanceof Error && "code" in error ? error.code : undefined);
