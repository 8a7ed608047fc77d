import { chmodSync, closeSync, fchmodSync, lstatSync, type Stats, statSync, unlinkSync } from "node:fs";
import { isIP, isIPv6 } from "node:net";
import { dirname } from "node:path";
import { MdError } from "../base/md-error.ts";
import { Errno } from "./errno.ts";
import { errnoName } from "./errno-name.ts";
import type { ListenAddress } from "./io-ring.ts";
import type { Libc } from "./uring/libc.ts";
import { SOCK_CLOEXEC } from "./uring/uapi.ts";

export interface ListeningSocket {
  /** Blocking, as io_uring wants it. */
  readonly fd: number;
  /** Of a TCP socket; 0 for a Unix socket. */
  readonly port: number;
  /** Ends the file of a Unix socket, if it is still the one that we made. The descriptor stays. */
  unlink(): void;
}

const AF_UNIX = 1;
const AF_INET = 2;
const AF_INET6 = 10;
const SOCK_STREAM = 1;
const SOCK_NONBLOCK = 0x800;
const SOL_SOCKET = 1;
const SO_REUSEADDR = 2;
const IPPROTO_IPV6 = 41;
const IPV6_V6ONLY = 26;
const BACKLOG = 128;
const UNIX_PATH_MAX = 107;

/**
 * A listening socket. A Unix socket has mode 0600 from its first moment; a file that is there already is replaced only
 * if it is our own socket and nobody listens on it. Throws MdError E_IO, E_PERMISSION or E_VALUE.
 */
export function listenSocket(libc: Libc, address: ListenAddress): ListeningSocket {
  return address.type === "unix" ? listenUnix(libc, address.path) : listenTcp(libc, address.host, address.port);
}

function listenUnix(libc: Libc, path: string): ListeningSocket {
  const name = unixAddress(path);
  makeWay(libc, path, name);

  const fd = must(libc.socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), path);
  try {
    // The inode that bind makes takes the socket's own mode (less the umask): there is no moment in which it is open to others.
    fchmodSync(fd, 0o600);
    must(libc.bind(fd, name), path);
    const made = lstatSync(path);
    if ((made.mode & 0o777) !== 0o600) chmodSync(path, 0o600);
    must(libc.listen(fd, BACKLOG), path);
    return { fd, port: 0, unlink: () => unlinkIfSame(path, made) };
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

function unixAddress(path: string): Uint8Array {
  const text = Buffer.from(path);
  if (text.length === 0 || text.includes(0)) throw new MdError("E_VALUE", "a socket path is empty or holds a NUL");
  if (text.length > UNIX_PATH_MAX) {
    throw new MdError("E_VALUE", `socket path ${path} is longer than ${UNIX_PATH_MAX} bytes`);
  }
  const address = new Uint8Array(2 + text.length + 1);
  address[0] = AF_UNIX;
  address.set(text, 2);
  return address;
}

/** Removes a stale socket of our own; refuses everything else that is in the way. */
function makeWay(libc: Libc, path: string, name: Uint8Array): void {
  refuseOpenFolder(path);
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found === undefined) return;
  if (!found.isSocket()) {
    throw new MdError("E_IO", `${path} exists and is not a socket`, { why: "a file that is not ours is not replaced" });
  }
  if (found.uid !== process.geteuid?.()) {
    throw new MdError("E_PERMISSION", `socket ${path} belongs to another user`);
  }
  const probe = must(libc.socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), path);
  const answer = libc.connect(probe, name);
  closeSync(probe);
  // Anything but a refusal (success, or EAGAIN: a full queue) means that somebody listens.
  if (answer !== -Errno.ECONNREFUSED) {
    throw new MdError("E_IO", `socket ${path} is in use`, { why: "another process listens on it" });
  }
  unlinkIfSame(path, found);
}

/** Where anybody may rename files, a name proves nothing. */
function refuseOpenFolder(path: string): void {
  let folder: Stats;
  try {
    folder = statSync(dirname(path));
  } catch (error) {
    throw new MdError("E_IO", `the folder of socket ${path} cannot be used`, { cause: error });
  }
  if ((folder.mode & 0o1002) === 0o0002) {
    throw new MdError("E_PERMISSION", `the folder of socket ${path} is writable by everybody`, {
      hint: `chmod o-w ${dirname(path)}`,
    });
  }
}

function unlinkIfSame(path: string, made: Stats): void {
  const now = lstatSync(path, { throwIfNoEntry: false });
  if (now?.ino === made.ino && now.dev === made.dev) unlinkSync(path);
}

function listenTcp(libc: Libc, host: string, port: number): ListeningSocket {
  const name = `${host}:${port}`;
  const address = tcpAddress(host === "localhost" ? "127.0.0.1" : host, port);
  const family = address[0] ?? AF_INET;
  const fd = must(libc.socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0), name);
  try {
    must(libc.setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, 1), name);
    if (family === AF_INET6) must(libc.setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1), name);
    must(libc.bind(fd, address), name);
    must(libc.listen(fd, BACKLOG), name);
    must(libc.getsockname(fd, address), name);
    return { fd, port: ((address[2] ?? 0) << 8) | (address[3] ?? 0), unlink: () => {} };
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/** `struct sockaddr_in` or `sockaddr_in6`. Names are not looked up: that would block, and lie. */
function tcpAddress(host: string, port: number): Uint8Array {
  if (isIP(host) === 0) throw new MdError("E_VALUE", `${host} is not an IP address`);
  if (!Number.isInteger(port) || port < 0 || port > 0xffff)
    throw new MdError("E_VALUE", `port ${port} is out of range`);
  const address = new Uint8Array(isIPv6(host) ? 28 : 16);
  address[0] = isIPv6(host) ? AF_INET6 : AF_INET;
  address[2] = port >> 8;
  address[3] = port & 0xff;
  address.set(isIPv6(host) ? ipv6Bytes(host) : host.split(".").map(Number), isIPv6(host) ? 8 : 4);
  return address;
}

function ipv6Bytes(host: string): number[] {
  // The URL parser writes every form (embedded IPv4 too) as plain groups with at most one "::".
  const [head = "", tail] = new URL(`http://[${host}]`).hostname.slice(1, -1).split("::");
  const groups = (text: string): number[] => (text === "" ? [] : text.split(":").map((group) => parseInt(group, 16)));
  const left = groups(head);
  const right = tail === undefined ? [] : groups(tail);
  const middle = new Array<number>(8 - left.length - right.length).fill(0);
  return [...left, ...middle, ...right].flatMap((group) => [group >> 8, group & 0xff]);
}

function must(result: number, name: string): number {
  if (result >= 0) return result;
  const errno = errnoName(-result);
  const code = errno === "EACCES" || errno === "EPERM" ? "E_PERMISSION" : "E_IO";
  throw new MdError(code, `cannot listen on ${name}: ${errno}`, { details: { errno } });
}
