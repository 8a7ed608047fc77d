import type { RedisOptions } from "ioredis";
import { MdError } from "../../base/md-error.ts";

/** What the types of ioredis ask for beyond its options: replies in the shapes of RESP2. */
export type ConnectionOptions = RedisOptions & { readonly replyMapping: "legacy" };

/** How long the reader waits for events in one XREAD. */
export const BLOCK_MS = 1000;
const COMMAND_MS = 2000;

/**
 * No command may run later than its caller thinks, or twice: nothing is queued while disconnected, nothing is sent
 * again, and what is in flight when a connection ends fails at once (its outcome is unknown; the request id tells).
 */
const common: ConnectionOptions = {
  replyMapping: "legacy",
  lazyConnect: true,
  protocol: 2,
  maxRetriesPerRequest: 0,
  enableOfflineQueue: false,
  autoResendUnfulfilledCommands: false,
  retryStrategy: () => 200,
  connectTimeout: 2000,
  keepAlive: 5000,
  enableReadyCheck: true,
  disableClientInfo: true,
  enableAutoPipelining: false,
  keyPrefix: "",
  reconnectOnError: (error) => (/^(READONLY|LOADING|MASTERDOWN|UNBLOCKED)/.test(error.message) ? 1 : false),
};

export const commandOptions = (connectionName: string): ConnectionOptions => ({
  ...common,
  commandTimeout: COMMAND_MS,
  socketTimeout: COMMAND_MS,
  connectionName,
});

/** A silent socket is a dead one: each XREAD comes back within BLOCK_MS. */
export const readerOptions = (connectionName: string): ConnectionOptions => ({
  ...common,
  socketTimeout: BLOCK_MS + 1000,
  connectionName,
});

type RedisTarget = Pick<RedisOptions, "path" | "host" | "port" | "db" | "username" | "password" | "tls">;

/** Where a Redis is. Throws E_VALUE for what is no URL of one. */
export function parseRedisUrl(text: string): { readonly target: RedisTarget; readonly about: string } {
  const bad = (why: string): MdError =>
    new MdError("E_VALUE", `${JSON.stringify(text)} is not the URL of a Redis server: ${why}`, {
      hint: "use redis://host:port, rediss://host:port or unix:///path",
    });
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    throw bad("it cannot be parsed");
  }
  if (url.protocol === "unix:") return { target: { path: url.pathname }, about: `unix:${url.pathname}` };
  if (url.protocol !== "redis:" && url.protocol !== "rediss:") throw bad(`unknown scheme ${url.protocol}`);
  if (url.hostname === "") throw bad("no host");
  const db = url.pathname.replace(/^\//, "");
  if (!/^\d{0,4}$/.test(db)) throw bad("the path must be the number of a database");
  const port = url.port === "" ? 6379 : Number(url.port);
  const target: RedisTarget = { host: url.hostname.replace(/^\[|\]$/g, ""), port, db: Number(db) };
  if (url.username !== "") target.username = decodeURIComponent(url.username);
  if (url.password !== "") target.password = decodeURIComponent(url.password);
  if (url.protocol === "rediss:") target.tls = { servername: url.hostname, minVersion: "TLSv1.2" };
  return { target, about: `${url.protocol}//${url.hostname}:${port}` };
}
