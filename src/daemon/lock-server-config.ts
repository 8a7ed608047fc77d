import { dirname, join, resolve } from "node:path";
import { MdError } from "../base/md-error.ts";
import { parseRedisUrl, type RedisFiles } from "../dlm/redis/redis-url.ts";
import { type NetAddress, readNetAddress } from "../dlm/socket/socket-address.ts";
import { readSecretFile } from "../env/secret-file.ts";

export type LockServerAddress =
  | { readonly type: "socket"; readonly path: string }
  /** A lock server of our own that listens in the network. */
  | { readonly type: "net"; readonly server: NetAddress }
  /** The first keeps the lock tables. With credentials, if there are any: never to be printed. */
  | { readonly type: "redis"; readonly urls: readonly string[]; readonly files: RedisFiles };

export interface LockServerSetting {
  /** As it was given; null: the default. */
  readonly text: string | null;
  /** Where others can read it, in words ("on a command line"); null: they cannot. */
  readonly exposedBy: string | null;
  /** From options of their own; they are for the words that name none. */
  readonly files: RedisFiles;
}

const fileWords: Readonly<Record<string, keyof RedisFiles>> = {
  passwordfile: "password",
  ca: "ca",
  cert: "cert",
  key: "key",
};

/**
 * The words of a LOCKSERVER line: one address of a lock server of our own, or one, three or five URLs of Redis, and
 * `passwordfile=FILE`, `ca=FILE`, `cert=FILE`, `key=FILE` for all of them. E_VALUE, E_USAGE and E_PERMISSION name what
 * is wrong and never repeat a password.
 */
export function readLockServer(setting: LockServerSetting, socketPath: string): LockServerAddress {
  const words = (setting.text ?? `unix:${join(dirname(socketPath), "lockd.sock")}`).split(/\s+/).filter(Boolean);
  const addresses = words.filter((word) => !/^[a-z]+=/.test(word));
  const files = { ...setting.files };
  for (const word of words) {
    const [, name = "", path = ""] = /^([a-z]+)=(.*)$/.exec(word) ?? [];
    if (name === "") continue;
    const file = fileWords[name];
    if (file === undefined || path === "") {
      throw new MdError("E_VALUE", `lock-server: ${name}= is not known, or has no value`, {
        hint: Object.keys(fileWords)
          .map((known) => `${known}=FILE`)
          .join(", "),
      });
    }
    files[file] = resolve(path);
  }
  const [first] = addresses;
  if (first === undefined) throw new MdError("E_VALUE", "lock-server: no address is given");
  const own = ownServer(first, files);
  if (own !== null && addresses.length > 1) {
    throw new MdError("E_VALUE", "lock-server: several can be given of Redis only");
  }
  return own ?? { type: "redis", urls: addresses.map((url) => checkRedis(url, setting, files)), files };
}

function ownServer(address: string, files: RedisFiles): LockServerAddress | null {
  if (address.startsWith("unix:") && !address.startsWith("unix://")) {
    return { type: "socket", path: resolve(address.slice("unix:".length)) };
  }
  if (!/^mdctl\+/i.test(address)) return null;
  const { ca, cert, key } = files;
  return { type: "net", server: readNetAddress("lock-server", address, "mdctl+", { ca, cert, key }) };
}

function checkRedis(url: string, { exposedBy }: LockServerSetting, files: RedisFiles): string {
  const { username, password, passwordFile } = parseRedisUrl(url, files);
  // A name without a password beside it may be the password.
  const named = username !== null && passwordFile === null;
  if (exposedBy !== null && (password !== null || named)) {
    throw new MdError("E_USAGE", `lock-server: credentials do not belong ${exposedBy}, which others can read`, {
      hint: "--lock-server-password-file=FILE, or passwordfile=FILE among its words",
    });
  }
  if (passwordFile !== null) readSecretFile(passwordFile, "password file");
  return url;
}
