import type { AbstractConnector, RedisOptions } from "ioredis";

/** What the types of ioredis ask for beyond its options: replies in the shapes of RESP2. */
export type ConnectionOptions = RedisOptions & { readonly replyMapping: "legacy" };

/** A command without its answer for this long has failed: whether it was or will be executed is not known. */
export const COMMAND_MS = 2000;
/** How often a connection that only listens is asked whether it is still there. Events come with the next renewal too. */
export const PING_MS = 5000;

/**
 * No command may run later than its caller thinks, or twice: nothing is queued while disconnected, nothing is sent
 * again, and what is in flight when a connection ends fails at once (its outcome is unknown; the request id tells).
 * A client lives for one connection only: making the next one is not left to ioredis, so that it has nothing to carry
 * over (docs/redis.md, "What we do not leave to the client library").
 */
export const connectionOptions = (
  connectionName: string,
  commandMs: number,
  Connector: new (options: unknown) => AbstractConnector,
): ConnectionOptions => ({
  replyMapping: "legacy",
  protocol: 2,
  lazyConnect: true,
  retryStrategy: () => null,
  reconnectOnError: () => false,
  maxRetriesPerRequest: 0,
  enableOfflineQueue: false,
  autoResendUnfulfilledCommands: false,
  autoResubscribe: false,
  enableAutoPipelining: false,
  // The link asks INFO itself, and judges more of it.
  enableReadyCheck: false,
  connectTimeout: COMMAND_MS,
  keepAlive: 5000,
  noDelay: true,
  disableClientInfo: true,
  keyPrefix: "",
  commandTimeout: commandMs,
  connectionName,
  Connector,
});
