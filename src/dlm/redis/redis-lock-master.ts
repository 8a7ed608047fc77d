import { Redis, ReplyError } from "ioredis";
import { MdError } from "../../base/md-error.ts";
import type { Env } from "../../env/env.ts";
import type { LockCall, LockEvent, LockReply, LockspaceId } from "../lock-call.ts";
import type { LockMaster, Subscription, WatchedMember } from "../lock-master.ts";
import { lockStatus } from "../lock-status.ts";
import { type LuaLibrary, readLuaLibrary } from "./lua-library.ts";
import { readMailbox } from "./mailbox-reader.ts";
import { keysOf } from "./redis-keys.ts";
import { commandOptions, parseRedisUrl, readerOptions } from "./redis-options.ts";

export interface RedisLockMasterOptions {
  /** redis://[user:password@]host:port[/db], rediss:// for TLS, or unix:///path. */
  readonly url: string;
  /** For the names of our connections in CLIENT LIST. */
  readonly node: string;
  readonly env: Env;
}

/**
 * Connects and loads the function library if it is not there. Rejects with E_LOCK_SERVICE_LOST if nothing answers,
 * E_PROTOCOL_VERSION (older than 7.0), E_VALUE (bad URL, a replica, a maxmemory-policy that evicts) or E_PERMISSION
 * (may not load the library). Reconnects by itself later.
 */
export async function connectRedisMaster(options: RedisLockMasterOptions): Promise<LockMaster> {
  const master = new RedisLockMaster(options);
  try {
    await master.connect();
  } catch (error) {
    await master.close();
    throw error;
  }
  return master;
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

class RedisLockMaster implements LockMaster {
  readonly about: string;
  readonly #options: RedisLockMasterOptions;
  readonly #library: LuaLibrary = readLuaLibrary();
  readonly #client: Redis;
  readonly #listeners = new Set<(reachable: boolean) => void>();
  readonly #readers = new Set<Subscription>();
  /** Slots of the lockspaces that were joined from here: which keys a call needs. */
  readonly #slots = new Map<string, number>();
  #connected = false;

  constructor(options: RedisLockMasterOptions) {
    this.#options = options;
    const { target, about } = parseRedisUrl(options.url);
    this.about = about;
    this.#client = new Redis({ ...commandOptions(`mdlm/${options.node}/cmd`), ...target });
  }

  async connect(): Promise<void> {
    const client = this.#client;
    let lastError: unknown = null;
    client.on("error", (error: unknown) => {
      lastError = error;
    });
    try {
      await client.connect();
    } catch (error) {
      throw this.#unreachable(lastError ?? error);
    }
    await this.#check();
    await this.#loadLibrary();
    this.#connected = true;
    client.on("close", () => this.#tell(false));
    client.on("ready", () => {
      // Without it a Redis short of memory may cut us off; where it is forbidden, so be it.
      client.call("CLIENT", "NO-EVICT", "ON").catch(() => {});
      this.#tell(true);
    });
  }

  #tell(reachable: boolean): void {
    if (this.#connected === reachable) return;
    this.#connected = reachable;
    for (const listener of [...this.#listeners]) listener(reachable);
  }

  #unreachable(cause: unknown): MdError {
    const why = messageOf(cause);
    return new MdError("E_LOCK_SERVICE_LOST", `the lock server ${this.about} does not answer`, { why, cause });
  }

  /** Only a Redis that loses nothing by itself may keep locks. */
  async #check(): Promise<void> {
    let info: string;
    try {
      const parts = await Promise.all(["server", "memory", "replication"].map((part) => this.#client.info(part)));
      info = parts.join("\n");
    } catch (error) {
      throw this.#unreachable(error);
    }
    const field = (name: string): string => new RegExp(`^${name}:(.*?)\r?$`, "m").exec(info)?.[1] ?? "";
    const refuse = (code: "E_VALUE" | "E_PROTOCOL_VERSION", why: string, hint: string): MdError =>
      new MdError(code, `the Redis at ${this.about} cannot keep locks: ${why}`, { hint });
    const version = field("redis_version");
    if (Number.parseInt(version, 10) < 7) {
      throw refuse("E_PROTOCOL_VERSION", `it is version ${version}`, "use Redis 7.0 or newer");
    }
    if (field("role") !== "master") {
      throw refuse("E_VALUE", `it is a ${field("role")}, not a master`, "give the URL of the master");
    }
    const policy = field("maxmemory_policy");
    if (policy !== "noeviction") {
      throw refuse("E_VALUE", `maxmemory-policy is ${policy}`, "redis-cli config set maxmemory-policy noeviction");
    }
  }

  async #loadLibrary(): Promise<void> {
    const { name, text } = this.#library;
    const client = this.#client;
    try {
      const found = await client.call("FUNCTION", "LIST", "LIBRARYNAME", name);
      if (Array.isArray(found) && found.length > 0) return;
      await client.call("FUNCTION", "LOAD", text);
      this.#options.env.log.info({ evt: "dlm.library", library: name }, `loaded ${name} into ${this.about}`);
    } catch (error) {
      const why = messageOf(error);
      if (why.includes("already exists")) return; // another node was faster
      if (!(error instanceof ReplyError)) throw this.#unreachable(error);
      throw new MdError("E_PERMISSION", `cannot load the lock functions into ${this.about}`, { why });
    }
  }

  async call(lockspace: LockspaceId, call: LockCall): Promise<LockReply> {
    const where = `${lockspace.cluster}/${lockspace.name}`;
    const keys = keysOf(lockspace, call.op, this.#slots.get(where) ?? 0);
    const body = call.op === "join" ? { ...call, code: this.#library.name } : call;
    let text: unknown;
    try {
      text = await this.#client.call(
        "FCALL",
        `${this.#library.name}_${call.op}`,
        keys.length,
        ...keys,
        JSON.stringify(body),
      );
    } catch (error) {
      // It was not executed: FUNCTION FLUSH, or a restart without persistence.
      if (messageOf(error).includes("Function not found")) await this.#loadLibrary();
      throw this.#unreachable(error);
    }
    const reply = JSON.parse(String(text)) as LockReply;
    if (call.op === "join" && reply.rc === lockStatus.OK) this.#slots.set(where, call.slots);
    return reply;
  }

  watch(lockspace: LockspaceId, member: WatchedMember, deliver: (events: readonly LockEvent[]) => void): Subscription {
    const { env, url, node } = this.#options;
    const options = { ...readerOptions(`mdlm/${lockspace.name}/${node}/rd`), ...parseRedisUrl(url).target };
    const reader = readMailbox(options, env, { lockspace, member, deliver });
    this.#readers.add(reader);
    return {
      stop: () => {
        this.#readers.delete(reader);
        reader.stop();
      },
    };
  }

  onReachable(listener: (reachable: boolean) => void): Subscription {
    this.#listeners.add(listener);
    return { stop: () => this.#listeners.delete(listener) };
  }

  close(): Promise<void> {
    this.#listeners.clear();
    for (const reader of this.#readers) reader.stop();
    this.#readers.clear();
    this.#client.disconnect();
    return Promise.resolve();
  }
}
