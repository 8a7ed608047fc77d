import { MdError } from "../../base/md-error.ts";
import type { Env } from "../../env/env.ts";
import { KnownMembers } from "../known-members.ts";
import type { LockCall, LockEvent, LockReply, LockspaceId } from "../lock-call.ts";
import type { LockMaster, Subscription, WatchedMember } from "../lock-master.ts";
import { connectArbiters, type MembershipGuard } from "./arbiters.ts";
import { ensureLibrary } from "./function-library.ts";
import { locateMaster } from "./locate-master.ts";
import { type LuaLibrary, readLuaLibrary } from "./lua-library.ts";
import { type MailboxReader, readMailbox } from "./mailbox-reader.ts";
import { commandHead, PackedCommand } from "./packed-command.ts";
import { serverFault } from "./redis-faults.ts";
import { keysOf, tableKey } from "./redis-keys.ts";
import { type LinkSubscription, RedisLink } from "./redis-link.ts";
import { COMMAND_MS } from "./redis-options.ts";
import { parseRedisUrl, type RedisFiles, type RedisPlace } from "./redis-url.ts";
import { packCall, unpackReply } from "./redis-wire.ts";
import { ReplicaWait, WAIT_MS } from "./replica-wait.ts";

export interface RedisLockMasterOptions {
  /** See parseRedisUrl. This server keeps the lock tables. */
  readonly url: string;
  /** Two or four more, independent of it: with them a majority is needed to join (docs/redis.md). */
  readonly others?: readonly string[];
  /** For all of them that name none themselves. */
  readonly files?: RedisFiles;
  /** For the names of our connections in CLIENT LIST. */
  readonly node: string;
  readonly env: Env;
}

/** What counts only when replicas have it: a server that is cut off from them may be replaced at any moment. */
const waited: ReadonlySet<LockCall["op"]> = new Set([
  "hello", // so that who wants to join learns early that too few are there
  "format",
  "join",
  "renew",
  "recover",
  "evict",
  "fence_begin",
  "fence_result",
]);

/**
 * Connects and loads the function library if it is not there. Rejects with E_LOCK_SERVICE_LOST if nothing answers,
 * E_PROTOCOL_VERSION (older than 7.0), E_VALUE (bad URL, a replica, a maxmemory-policy that evicts) or E_PERMISSION
 * (password, certificate, or it may not load the library). Reconnects by itself later, and checks all that again.
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

class RedisLockMaster implements LockMaster {
  readonly about: string;
  readonly #options: RedisLockMasterOptions;
  readonly #place: RedisPlace;
  readonly #library: LuaLibrary = readLuaLibrary();
  /** In a Redis Cluster one for each lockspace: it may live anywhere. Otherwise one for all. */
  readonly #links = new Map<string, Promise<RedisLink>>();
  /** Those that have been connected once: a call need not wait for their promise. */
  readonly #opened = new Map<string, RedisLink>();
  readonly #listeners = new Set<(reachable: boolean) => void>();
  readonly #waits = new WeakMap<RedisLink, ReplicaWait>();
  /** By lockspace, incarnation and epoch. */
  readonly #readers = new Map<string, MailboxReader>();
  readonly #guard: MembershipGuard | null;
  readonly #known = new KnownMembers();
  /** By operation and slot. */
  readonly #heads = new WeakMap<LockspaceId, Map<string, Buffer>>();
  /** Calls so far. */
  #marks = 0;
  #reachable = true;
  #closed = false;

  constructor(options: RedisLockMasterOptions) {
    const { url, others = [], files, node, env } = options;
    this.#options = options;
    const places = [url, ...others].map((each) => parseRedisUrl(each, files));
    this.#place = places[0] ?? parseRedisUrl(url);
    this.about = this.#place.about;
    this.#guard = connectArbiters(places, node, env);
  }

  /** The first connection; without a lockspace any master of a cluster will do. */
  async connect(): Promise<void> {
    const link = await this.#link(null, "cmd");
    await this.#load(link);
    // The functions say nothing where this is forbidden, and events would come late.
    await link.send("PUBLISH", "mdlm:", "");
    await this.#guard?.open();
  }

  async #load(link: RedisLink): Promise<void> {
    const loaded = await ensureLibrary(link, this.#library, this.about);
    if (!loaded) return;
    const { name } = this.#library;
    this.#options.env.log.info({ evt: "dlm.library", library: name }, `loaded ${name} into ${this.about}`);
  }

  #newLink(lockspace: LockspaceId | null, purpose: string, subscription?: LinkSubscription): RedisLink {
    const { node, env } = this.#options;
    const key = lockspace === null ? null : tableKey(lockspace);
    return new RedisLink({
      about: this.about,
      name: `mdlm/${lockspace === null ? "" : `${lockspace.name}/`}${node}/${purpose}`,
      env,
      commandMs: COMMAND_MS,
      ...(subscription === undefined ? {} : { subscription }),
      cluster: this.#place.topology.type === "cluster",
      locate: () => locateMaster(this.#place, key),
    });
  }

  /** `cmd` for calls, `ms` for those that wait for replicas, so that these do not hold up the others. */
  #link(lockspace: LockspaceId | null, purpose: "cmd" | "ms"): Promise<RedisLink> {
    const owner = this.#place.topology.type === "cluster" ? lockspace : null;
    const name = this.#linkName(lockspace, purpose);
    const known = this.#links.get(name);
    if (known !== undefined) return known;
    const link = this.#newLink(owner, purpose);
    const opened = link.open().then(() => {
      this.#opened.set(name, link);
      if (this.#closed) link.close();
      else if (purpose === "cmd") link.onUp((up) => this.#tell(up));
      return link;
    });
    this.#links.set(name, opened);
    opened.catch(() => this.#links.delete(name));
    return opened;
  }

  #linkName(lockspace: LockspaceId | null, purpose: "cmd" | "ms"): string {
    return this.#place.topology.type === "cluster" && lockspace !== null ? `${purpose} ${nameOf(lockspace)}` : purpose;
  }

  #tell(reachable: boolean): void {
    if (this.#reachable === reachable) return;
    this.#reachable = reachable;
    for (const listener of [...this.#listeners]) listener(reachable);
  }

  call(lockspace: LockspaceId, call: LockCall): Promise<LockReply> {
    if (this.#guard === null) return this.#execute(lockspace, call);
    return this.#guard.enter(lockspace, call.op, () => this.#execute(lockspace, call));
  }

  async #execute(lockspace: LockspaceId, call: LockCall): Promise<LockReply> {
    // The answer brings all events that there are up to it: what is heard meanwhile comes behind it.
    const reader = isLockCall(call) ? this.#readers.get(readerName(lockspace, call)) : undefined;
    reader?.pause();
    try {
      return await this.#ask(lockspace, call);
    } catch (error) {
      if (!(error instanceof MdError)) throw error;
      // Whatever it is, it may pass: a password may be put right, a master may come back.
      throw asLost(error);
    } finally {
      reader?.resume();
    }
  }

  async #ask(lockspace: LockspaceId, call: LockCall, functionsLoaded = false): Promise<LockReply> {
    const { wait } = this.#place;
    const confirm = wait > 0 && waited.has(call.op);
    const purpose = confirm ? "ms" : "cmd";
    const link = this.#opened.get(this.#linkName(lockspace, purpose)) ?? (await this.#link(lockspace, purpose));
    const known = this.#known.of(lockspace, call);
    const mark = ++this.#marks;
    const args = packCall(call, { mark, code: this.#library.name, known: known?.generation });
    const command = new PackedCommand(this.#headOf(lockspace, call, args.length), args);
    let bytes: unknown;
    let replicas: unknown = wait;
    try {
      if (confirm) ({ reply: bytes, replicas } = await this.#waitOf(link).run(() => link.sendPacked(command)));
      else bytes = await link.sendPacked(command);
    } catch (error) {
      if (functionsLoaded || !(error instanceof MdError) || !error.why?.includes("Function not found")) throw error;
      // It was not executed: FUNCTION FLUSH, a restart without persistence, another node of the cluster.
      await this.#load(link);
      return this.#ask(lockspace, call, true);
    }
    const said = unpackReply(bytes, mark);
    const reply = said === null ? null : this.#known.complete(lockspace, known, said);
    if (reply === null || typeof replicas !== "number") {
      const fault = serverFault(this.about, new Error("what it says is no answer of a lock server"));
      link.drop(fault);
      throw fault;
    }
    if (replicas < wait) await this.#unconfirmed(replicas, wait);
    return reply;
  }

  /** What the commands of calls of this kind begin with. */
  #headOf(lockspace: LockspaceId, call: LockCall, args: number): Buffer {
    const heads = this.#heads.get(lockspace) ?? new Map<string, Buffer>();
    this.#heads.set(lockspace, heads);
    const kind = `${call.op} ${"slot" in call ? call.slot : ""}`;
    const known = heads.get(kind);
    if (known !== undefined) return known;
    const keys = keysOf(lockspace, call);
    const head = commandHead(["FCALL", `${this.#library.name}_${call.op}`, keys.length, ...keys], args);
    heads.set(kind, head);
    return head;
  }

  #waitOf(link: RedisLink): ReplicaWait {
    const known = this.#waits.get(link) ?? new ReplicaWait(link, this.#place.wait);
    this.#waits.set(link, known);
    return known;
  }

  /** It is written, but a failover may forget it. With sentinels the master may be another one by now: they are asked. */
  async #unconfirmed(replicas: number, wait: number): Promise<never> {
    const fault = new MdError("E_LOCK_SERVICE_LOST", `the lock server ${this.about} has too few replicas`, {
      why: `${replicas} of ${wait} confirmed within ${WAIT_MS} ms`,
      hint: "redis-cli info replication",
    });
    if (this.#place.topology.type === "sentinel") {
      for (const opened of this.#links.values()) (await opened).drop(fault);
    }
    throw fault;
  }

  watch(lockspace: LockspaceId, member: WatchedMember, deliver: (events: readonly LockEvent[]) => void): Subscription {
    const connect = (subscription: LinkSubscription): RedisLink => this.#newLink(lockspace, "rd", subscription);
    const reader = readMailbox(connect, this.#options.env, { lockspace, member, deliver });
    const name = readerName(lockspace, member);
    this.#readers.set(name, reader);
    return {
      stop: () => {
        this.#readers.delete(name);
        reader.stop();
      },
    };
  }

  onReachable(listener: (reachable: boolean) => void): Subscription {
    this.#listeners.add(listener);
    return { stop: () => this.#listeners.delete(listener) };
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#listeners.clear();
    for (const reader of this.#readers.values()) reader.stop();
    this.#readers.clear();
    this.#guard?.close();
    const links = [...this.#links.values()];
    this.#links.clear();
    this.#opened.clear();
    for (const opened of links) {
      opened.then(
        (link) => link.close(),
        () => {}, // it closed itself
      );
    }
  }
}

const readerName = (lockspace: LockspaceId, { incarnation, epoch }: Omit<WatchedMember, "slot">): string =>
  `${nameOf(lockspace)} ${incarnation} ${epoch}`;

type OrderedCall = Extract<LockCall, { readonly op: "lock" | "convert" | "batch" | "unlock" | "poll" }>;

/** Not those that wait for replicas: events must not wait as long. */
const isLockCall = (call: LockCall): call is OrderedCall =>
  call.op === "convert" || call.op === "batch" || call.op === "lock" || call.op === "unlock" || call.op === "poll";

const nameOf = ({ cluster, name }: LockspaceId): string => `${cluster}/${name}`;

function asLost(fault: MdError): MdError {
  if (fault.code === "E_LOCK_SERVICE_LOST") return fault;
  return new MdError("E_LOCK_SERVICE_LOST", fault.message, {
    ...(fault.why === null ? {} : { why: fault.why }),
    ...(fault.hint === null ? {} : { hint: fault.hint }),
    cause: fault,
  });
}
