import { MdError } from "../../base/md-error.ts";

export interface HostPort {
  readonly host: string;
  readonly port: number;
}

/** How the server that keeps the table is found. */
export type RedisTopology =
  | { readonly type: "single"; readonly at: HostPort }
  | { readonly type: "socket"; readonly path: string }
  /** Ask the sentinels which server is the master of this name. */
  | { readonly type: "sentinel"; readonly sentinels: readonly HostPort[]; readonly master: string }
  /** Ask any node of the cluster which one owns the slot of the keys. */
  | { readonly type: "cluster"; readonly seeds: readonly HostPort[] };

/** What the URL of a Redis says. Nothing is opened or read yet: secrets are files. */
export interface RedisPlace {
  readonly topology: RedisTopology;
  /** The URL without credentials and options: for people, and to compare two places. */
  readonly about: string;
  readonly db: number;
  readonly username: string | null;
  /** In the URL itself, which only an environment variable or a file may hold. */
  readonly password: string | null;
  readonly passwordFile: string | null;
  readonly sentinelPasswordFile: string | null;
  readonly tls: RedisTls | null;
  /** By how many replicas a renewal must be confirmed before it counts. */
  readonly wait: number;
}

export interface RedisTls {
  /** Files in PEM; null: the CAs of the system, no certificate of our own. */
  readonly ca: string | null;
  readonly cert: string | null;
  readonly key: string | null;
  /** The name that the server's certificate must carry, if it is not the host of the URL. */
  readonly serverName: string | null;
}

/** Files for the URLs that name none themselves; null: none. */
export type RedisFiles = Readonly<Record<"password" | "ca" | "cert" | "key", string | null>>;

const NO_FILES: RedisFiles = { password: null, ca: null, cert: null, key: null };

const OPTIONS = ["passwordfile", "sentinelpasswordfile", "ca", "cert", "key", "servername", "wait"] as const;
const FORM = /^(rediss?)(?:\+(sentinel|cluster))?:\/\/(?:([^@/?#]*)@)?([^@/?#]*)(\/[^?#]*)?(?:\?([^#]*))?$/;
const MOST_REPLICAS = 16;

type Refuse = (why: string) => MdError;

/**
 * `redis[s]://[user:password@]host[:port][/db]`, `redis[s]+sentinel://host[:port],.../master-name[/db]`,
 * `redis[s]+cluster://host[:port],...` or `unix:///path`, each with `?passwordfile=&ca=&cert=&key=&servername=&wait=`.
 * Throws E_VALUE for anything else, without repeating what might be a password.
 */
export function parseRedisUrl(text: string, files: RedisFiles = NO_FILES): RedisPlace {
  const shown = text.replace(/\/\/[^/?#]*@/, "//***@").slice(0, 200);
  const refuse: Refuse = (why) =>
    new MdError("E_VALUE", `${JSON.stringify(shown)} is not the URL of a Redis server: ${why}`, {
      hint: "use redis://HOST:PORT, rediss://HOST:PORT, redis+sentinel://HOST:PORT,HOST:PORT/NAME, redis+cluster://HOST:PORT,HOST:PORT or unix:///PATH",
    });
  if (text.startsWith("unix:")) return socketPlace(text, files, refuse);
  const match = FORM.exec(text);
  if (match === null) throw refuse("its form is not known");
  const [, scheme = "", kind = "single", credentials = "", hosts = "", path = "", query = ""] = match;
  const options = readOptions(query, refuse);
  const secure = scheme === "rediss";
  const at = hosts.split(",").map((host) => readHost(host, kind === "sentinel" ? 26_379 : 6379, refuse));
  const [first] = at;
  if (first === undefined) throw refuse("no host");
  if (kind === "single" && at.length > 1) throw refuse("several hosts need +sentinel or +cluster");
  const parts = path.split("/").slice(1);
  const master = kind === "sentinel" ? decode(parts.shift() ?? "", refuse) : "";
  if (kind === "sentinel" && !/^[A-Za-z0-9._-]+$/.test(master)) throw refuse("the path must be the name of a master");
  const [db = ""] = parts;
  if (parts.length > 1 || !/^\d{0,4}$/.test(db)) throw refuse("the path must be the number of a database");
  if (kind === "cluster" && Number(db) !== 0) throw refuse("Redis Cluster has database 0 only");
  const topology: RedisTopology =
    kind === "sentinel"
      ? { type: "sentinel", sentinels: at, master }
      : kind === "cluster"
        ? { type: "cluster", seeds: at }
        : { type: "single", at: first };
  const about = `${scheme}${kind === "single" ? "" : `+${kind}`}://${at.map(show).join(",")}${master && `/${master}`}`;
  return {
    topology,
    about,
    db: Number(db),
    tls: secure ? tlsOptions(options, files) : refuseTls(options, refuse),
    ...secrets(credentials, options, files, refuse),
    wait: readWait(options.get("wait"), kind === "sentinel" ? 1 : 0, refuse),
  };
}

function socketPlace(text: string, files: RedisFiles, refuse: Refuse): RedisPlace {
  const match = /^unix:(?:\/\/(?:([^@/]*)@)?)?(\/(?!\/)[^?#]*)(?:\?([^#]*))?$/.exec(text);
  if (match === null) throw refuse("it takes an absolute path");
  const [, credentials = "", path = "", query = ""] = match;
  const options = readOptions(query, refuse);
  return {
    topology: { type: "socket", path: decode(path, refuse) },
    about: `unix:${path}`,
    db: 0,
    tls: refuseTls(options, refuse),
    ...secrets(credentials, options, files, refuse),
    wait: readWait(options.get("wait"), 0, refuse),
  };
}

type Options = ReadonlyMap<string, string>;

function readOptions(query: string, refuse: Refuse): Options {
  const options = new Map<string, string>();
  for (const [name, value] of new URLSearchParams(query)) {
    if (!OPTIONS.some((known) => known === name)) throw refuse(`unknown option ${name}; known: ${OPTIONS.join(", ")}`);
    if (options.has(name)) throw refuse(`option ${name} is given twice`);
    if (value === "") throw refuse(`option ${name} has no value`);
    options.set(name, value);
  }
  return options;
}

function readHost(text: string, port: number, refuse: Refuse): HostPort {
  const match = /^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::(\d{1,5}))?$/.exec(text);
  if (match === null) throw refuse(text === "" ? "no host" : "a host is not HOST:PORT");
  const number = match[2] === undefined ? port : Number(match[2]);
  if (number < 1 || number > 65_535) throw refuse(`there is no port ${number}`);
  return { host: (match[1] ?? "").replace(/^\[|\]$/g, "").toLowerCase(), port: number };
}

const show = ({ host, port }: HostPort): string => `${host.includes(":") ? `[${host}]` : host}:${port}`;

function decode(text: string, refuse: Refuse): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw refuse("a % is not followed by two hexadecimal digits");
  }
}

function secrets(credentials: string, options: Options, files: RedisFiles, refuse: Refuse): SecretFields {
  const colon = credentials.indexOf(":");
  const user = colon < 0 ? credentials : credentials.slice(0, colon);
  const password = colon < 0 ? "" : credentials.slice(colon + 1);
  const passwordFile = options.get("passwordfile") ?? null;
  if (password !== "" && passwordFile !== null) throw refuse("it has a password and a passwordfile");
  return {
    username: user === "" ? null : decode(user, refuse),
    password: password === "" ? null : decode(password, refuse),
    passwordFile: passwordFile ?? (password === "" ? files.password : null),
    sentinelPasswordFile: options.get("sentinelpasswordfile") ?? null,
  };
}

type SecretFields = Pick<RedisPlace, "username" | "password" | "passwordFile" | "sentinelPasswordFile">;

const tlsOptions = (options: Options, files: RedisFiles): RedisTls => ({
  ca: options.get("ca") ?? files.ca,
  cert: options.get("cert") ?? files.cert,
  key: options.get("key") ?? files.key,
  serverName: options.get("servername") ?? null,
});

function refuseTls(options: Options, refuse: Refuse): null {
  const given = ["ca", "cert", "key", "servername"].find((name) => options.has(name));
  if (given !== undefined) throw refuse(`${given} needs TLS, that is rediss://`);
  return null;
}

function readWait(text: string | undefined, usual: number, refuse: Refuse): number {
  if (text === undefined) return usual;
  const count = Number(text);
  if (!/^\d+$/.test(text) || count > MOST_REPLICAS) throw refuse(`wait is a number of replicas, 0 to ${MOST_REPLICAS}`);
  return count;
}
