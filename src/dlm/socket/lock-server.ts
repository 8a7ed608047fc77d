import { rmSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { deferred } from "../../base/deferred.ts";
import type { Timer } from "../../env/clock.ts";
import type { Env } from "../../env/env.ts";
import type { LockCall, LockspaceId } from "../lock-call.ts";
import { parseLockCall, parseLockspaceId } from "../lock-call-parser.ts";
import type { Subscription, WatchedMember } from "../lock-master.ts";
import { MemoryLockMaster } from "../memory-lock-master.ts";
import { claimSocket, lstatOrNull } from "./claim-socket.ts";
import { receiveFrames, sendFrame } from "./frames.ts";
import { MembersMarker } from "./members-marker.ts";
import { REQUEST_LIMIT, SOCKET_PROTOCOL, type SocketResponse } from "./socket-protocol.ts";

export interface LockServerOptions {
  /** Unix socket, mode 0600. The directory must exist and be writable by nobody else. */
  readonly socketPath: string;
  readonly env: Env;
  /** Milliseconds without a connection after which it ends by itself; null or absent: never. */
  readonly lingerMs?: number | null;
}

export interface LockServer {
  readonly socketPath: string;
  /** Resolves when the server has ended, by `close` or because its socket was taken away. */
  readonly ended: Promise<void>;
  close(): Promise<void>;
}

/** How often the server looks whether the socket at its path is still its own. */
const LOOK_EVERY_MS = 1000;
/** More watches than any process needs: one for each lockspace. */
const WATCHES_PER_CONNECTION = 1024;

/**
 * The embedded lock server of one host (`mdctl lockd`). Resolves once it listens; null if another one serves this
 * socket already (that one is to be used). Its state is in memory only: when it dies, its members lose their leases,
 * and the next one lets nobody create a lockspace before these have run out.
 * Rejects with E_PERMISSION if something at the path is not ours to replace.
 */
export async function runLockServer({ socketPath, env, lingerMs }: LockServerOptions): Promise<LockServer | null> {
  const marker = new MembersMarker(`${socketPath}.members`);
  const service = new LockService(socketPath, env, marker, lingerMs ?? Number.POSITIVE_INFINITY);
  if (!(await claimSocket(service.server, socketPath))) {
    await service.close();
    return null;
  }
  service.start();
  return service;
}

class LockService implements LockServer {
  readonly socketPath: string;
  readonly server: Server;
  readonly #env: Env;
  readonly #marker: MembersMarker;
  readonly #master: MemoryLockMaster;
  readonly #connections = new Set<Socket>();
  readonly #ended = deferred<void>();
  #forgotUntil = 0;
  #inode = 0;
  #timer: Timer | null = null;
  readonly #lingerMs: number;
  /** `Clock.now` when there was a connection last. */
  #usedAt: number;
  #closed = false;

  constructor(socketPath: string, env: Env, marker: MembersMarker, lingerMs: number) {
    this.#lingerMs = lingerMs;
    this.#usedAt = env.clock.now();
    this.socketPath = socketPath;
    this.#env = env;
    this.#marker = marker;
    this.#master = new MemoryLockMaster({
      mayHaveForgotten: () => env.clock.now() < this.#forgotUntil,
      life: Buffer.from(env.random.bytes(8)).toString("hex"),
    });
    this.server = createServer((socket) => this.#accept(socket));
  }

  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  /** The socket is ours now. */
  start(): void {
    const leaseMs = this.#marker.left();
    // A joiner waits a lease from its first look on, so that a look at the last moment still covers the whole.
    this.#forgotUntil = leaseMs === 0 ? 0 : this.#env.clock.now() + leaseMs;
    this.#inode = lstatOrNull(this.socketPath)?.ino ?? 0;
    this.#look();
  }

  #look(): void {
    if (lstatOrNull(this.socketPath)?.ino !== this.#inode) {
      this.#env.log.error({ evt: "lockd.replaced", path: this.socketPath }, "the socket was taken away: ending");
      void this.close();
      return;
    }
    const now = this.#env.clock.now();
    if (this.#connections.size > 0) this.#usedAt = now;
    if (now - this.#usedAt >= this.#lingerMs) {
      this.#env.log.info({ evt: "lockd.unused", path: this.socketPath }, "nobody has used it for long: ending");
      void this.close();
      return;
    }
    this.#timer = this.#env.clock.after(LOOK_EVERY_MS, () => this.#look());
  }

  #accept(socket: Socket): void {
    const watches = new Map<number, Subscription>();
    this.#connections.add(socket);
    const refuse = (reason: string): void => {
      this.#env.log.warn({ evt: "lockd.refused", reason }, `connection refused: ${reason}`);
      sendFrame(socket, { type: "refused", reason } satisfies SocketResponse);
      socket.destroySoon();
    };
    socket.on("error", () => socket.destroy());
    socket.on("close", () => {
      this.#connections.delete(socket);
      for (const watch of watches.values()) watch.stop();
    });
    const receive = (value: unknown): void => {
      const reason = this.#receive(socket, watches, value);
      if (reason !== null) refuse(reason);
    };
    receiveFrames(socket, REQUEST_LIMIT, receive, refuse);
  }

  /** Null, or what is wrong with the request. */
  #receive(socket: Socket, watches: Map<number, Subscription>, value: unknown): string | null {
    if (socket.writableEnded) return null;
    if (typeof value !== "object" || value === null) return "a request must be an object";
    const { type, id, lockspace, call, member, protocol } = value as Readonly<Record<string, unknown>>;
    if (type === "hello") {
      if (protocol !== SOCKET_PROTOCOL) return `protocol ${String(protocol)} is not ${SOCKET_PROTOCOL}`;
      sendFrame(socket, { type, protocol, pid: process.pid } satisfies SocketResponse);
      return null;
    }
    if (typeof id !== "number" || !Number.isSafeInteger(id)) return "a request without an id";
    if (type === "unwatch") {
      watches.get(id)?.stop();
      watches.delete(id);
      return null;
    }
    const where = parseLockspaceId(lockspace);
    if (where === null) return "a bad lockspace name";
    if (type === "call") {
      const parsed = parseLockCall(call);
      if (parsed === null) return "a malformed call";
      void this.#call(socket, id, where, parsed);
      return null;
    }
    if (type === "watch" && isMember(member) && !watches.has(id)) {
      if (watches.size >= WATCHES_PER_CONNECTION) return "too many watches";
      const push = (events: readonly unknown[]): boolean => sendFrame(socket, { type: "events", id, events });
      watches.set(id, this.#master.watch(where, member, push));
      push([]); // what is in the mailbox already is fetched by a poll
      return null;
    }
    return "an unknown request";
  }

  async #call(socket: Socket, id: number, lockspace: LockspaceId, call: LockCall): Promise<void> {
    if (call.op === "join") this.#marker.joined(call.leaseMs);
    const reply = await this.#master.call(lockspace, call);
    if (this.#master.memberCount === 0) this.#marker.empty();
    sendFrame(socket, { type: "reply", id, reply } satisfies SocketResponse);
  }

  async close(): Promise<void> {
    if (this.#closed) return this.ended;
    this.#closed = true;
    this.#timer?.cancel();
    if (this.#inode !== 0 && lstatOrNull(this.socketPath)?.ino === this.#inode)
      rmSync(this.socketPath, { force: true });
    for (const socket of this.#connections) socket.destroy();
    await new Promise<void>((resolve) => this.server.close(() => resolve()));
    await this.#master.close();
    this.#ended.resolve();
  }
}

function isMember(value: unknown): value is WatchedMember {
  if (typeof value !== "object" || value === null) return false;
  const { slot, incarnation, epoch } = value as Readonly<Record<string, unknown>>;
  return typeof slot === "number" && typeof incarnation === "string" && typeof epoch === "number";
}
