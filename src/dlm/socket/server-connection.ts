import type { Socket } from "node:net";
import type { Timer } from "../../env/clock.ts";
import type { Env } from "../../env/env.ts";
import { abbreviate } from "../known-members.ts";
import type { LockCall, LockReply, LockspaceId } from "../lock-call.ts";
import { parseLockCall, parseLockspaceId } from "../lock-call-parser.ts";
import type { LockMaster, Subscription, WatchedMember } from "../lock-master.ts";
import { BadFrame, FrameReader, sendFrame } from "./frames.ts";
import { HELLO_LIMIT, REQUEST_LIMIT, type Refusal, SOCKET_PROTOCOL, type SocketResponse } from "./socket-protocol.ts";

/** Who has not introduced itself by then is cut off. */
export const HELLO_MS = 5000;
/** For reading why it was refused. */
const GOODBYE_MS = 1000;
/** Above this many bytes unsent no request is read any more, and events are only announced. */
const UNSENT_PAUSE = 256 * 1024;
/** A peer that takes nothing of what waits for it for this long is dead, or as good as that. */
const STUCK_MS = 10_000;
/** More watches than any process needs: one for each lockspace. */
const WATCHES = 1024;

export interface ConnectionServer {
  readonly env: Env;
  readonly master: Pick<LockMaster, "watch">;
  execute(lockspace: LockspaceId, call: LockCall): Promise<LockReply>;
}

interface Watch {
  readonly subscription: Subscription;
  /** Events were not sent because the peer does not read; it is told to ask for them when it does again. */
  owed: boolean;
}

/**
 * One client of the lock server. What it may make us keep is bounded: a frame that is not complete, a reply that it
 * does not read, and a flag for each watch. Requests are answered one after another, in order.
 */
export class ServerConnection {
  readonly #server: ConnectionServer;
  readonly #socket: Socket;
  readonly #about: string;
  /** The names of nodes that it may join as; null: any. */
  readonly #names: readonly string[] | null;
  readonly #onHello: () => void;
  readonly #reader = new FrameReader(HELLO_LIMIT);
  readonly #watches = new Map<number, Watch>();
  #introduced = false;
  /** A request is being answered, or the peer must read first. */
  #busy = false;
  #stuckSince: number | null = null;
  #ended = false;
  #deadline: Timer;

  constructor(
    server: ConnectionServer,
    socket: Socket,
    peer: { readonly about: string; readonly names: readonly string[] | null; readonly onHello: () => void },
  ) {
    this.#server = server;
    this.#socket = socket;
    this.#about = peer.about;
    this.#names = peer.names;
    this.#onHello = peer.onHello;
    this.#deadline = server.env.clock.after(HELLO_MS, () => this.#cut("it does not introduce itself"));
    socket.on("error", () => socket.destroy());
    socket.on("close", () => this.#closed());
    socket.on("drain", () => this.#drained());
    socket.on("data", (chunk: Buffer) => {
      if (this.#ended) return;
      this.#reader.push(chunk);
      this.#serve();
    });
  }

  /** To be called now and then: ends the connection of a peer that does not read. */
  look(): void {
    const now = this.#server.env.clock.now();
    if (this.#stuckSince !== null && now - this.#stuckSince >= STUCK_MS) this.#cut("it does not read");
  }

  end(): void {
    this.#socket.destroy();
  }

  refuse(kind: Refusal, reason: string): void {
    const { log } = this.#server.env;
    log.warn({ evt: "lockd.refused", peer: this.#about, kind, reason }, `${this.#about} is refused: ${reason}`);
    this.#ended = true;
    this.#deadline.cancel();
    this.#send({ type: "refused", kind, reason });
    this.#socket.end();
    // To close on what it still sends would throw away what we said.
    this.#deadline = this.#server.env.clock.after(GOODBYE_MS, () => this.#socket.destroy());
  }

  #cut(reason: string): void {
    if (this.#socket.destroyed) return;
    const { log } = this.#server.env;
    log.warn({ evt: "lockd.cut", peer: this.#about, reason }, `${this.#about} is cut off: ${reason}`);
    this.#socket.destroy();
  }

  #closed(): void {
    if (!this.#introduced && !this.#ended) {
      const { log } = this.#server.env;
      const text = `${this.#about} went without a word: it may not trust this server's certificate`;
      if (this.#names !== null) log.warn({ evt: "lockd.silent", peer: this.#about }, text);
    }
    this.#ended = true;
    this.#deadline.cancel();
    for (const { subscription } of this.#watches.values()) subscription.stop();
    this.#watches.clear();
  }

  #send(response: SocketResponse): void {
    if (!sendFrame(this.#socket, response)) return;
    if (this.#socket.writableLength > 0) this.#stuckSince ??= this.#server.env.clock.now();
  }

  get #isFull(): boolean {
    return this.#socket.writableLength > UNSENT_PAUSE;
  }

  #drained(): void {
    this.#stuckSince = null;
    for (const [id, watch] of this.#watches) {
      if (!watch.owed) continue;
      watch.owed = false;
      this.#send({ type: "events", id, events: [] });
    }
    if (!this.#socket.isPaused()) return;
    this.#socket.resume();
    this.#busy = false;
    this.#serve();
  }

  #serve(): void {
    try {
      while (!this.#busy && !this.#ended) {
        const frame = this.#reader.next();
        if (frame === null) return;
        const wrong = this.#receive(frame.value);
        if (wrong !== null) this.refuse("request", wrong);
      }
    } catch (error) {
      if (!(error instanceof BadFrame)) throw error;
      this.refuse("request", error.message);
    }
  }

  /** Null, or what is wrong with the request. */
  #receive(value: unknown): string | null {
    if (typeof value !== "object" || value === null) return "a request must be an object";
    const { type, id, lockspace, call, known, member, protocol } = value as Readonly<Record<string, unknown>>;
    if (type === "hello") {
      this.#hello(protocol);
      return null;
    }
    if (!this.#introduced) return "the first request must be a hello";
    if (typeof id !== "number" || !Number.isSafeInteger(id)) return "a request without an id";
    if (type === "unwatch") {
      this.#watches.get(id)?.subscription.stop();
      this.#watches.delete(id);
      return null;
    }
    const where = parseLockspaceId(lockspace);
    if (where === null) return "a bad lockspace name";
    if (type === "call") {
      const parsed = parseLockCall(call);
      if (parsed === null) return "a malformed call";
      this.#call(id, where, parsed, known);
      return null;
    }
    if (type === "watch" && isMember(member) && !this.#watches.has(id)) {
      if (this.#watches.size >= WATCHES) return "too many watches";
      this.#watch(id, where, member);
      return null;
    }
    return "an unknown request";
  }

  #hello(protocol: unknown): void {
    if (protocol !== SOCKET_PROTOCOL) {
      this.refuse(
        "protocol",
        `it speaks protocol ${String(protocol).slice(0, 20)}, this lock server ${SOCKET_PROTOCOL}`,
      );
      return;
    }
    this.#send({ type: "hello", protocol: SOCKET_PROTOCOL, pid: process.pid });
    if (this.#introduced) return;
    this.#introduced = true;
    this.#reader.limit = REQUEST_LIMIT;
    this.#deadline.cancel();
    this.#onHello();
  }

  #call(id: number, lockspace: LockspaceId, call: LockCall, known: unknown): void {
    if ("node" in call && this.#names !== null && !this.#names.includes(call.node)) {
      const whose = this.#names.join(", ") || "no node";
      this.refuse("certificate", `its certificate is one of ${whose}, and it calls itself ${call.node}`);
      return;
    }
    this.#busy = true;
    void this.#server.execute(lockspace, call).then((reply) => {
      this.#send({ type: "reply", id, reply: abbreviate(reply, known) });
      if (this.#isFull) {
        this.#socket.pause();
        return;
      }
      this.#busy = false;
      this.#serve();
    });
  }

  #watch(id: number, lockspace: LockspaceId, member: WatchedMember): void {
    const subscription = this.#server.master.watch(lockspace, member, (events) => {
      const watch = this.#watches.get(id);
      if (watch === undefined) return;
      if (this.#isFull) watch.owed = true;
      else this.#send({ type: "events", id, events });
    });
    this.#watches.set(id, { subscription, owed: false });
    this.#send({ type: "events", id, events: [] }); // what is in the mailbox already is fetched by a poll
  }
}

function isMember(value: unknown): value is WatchedMember {
  if (typeof value !== "object" || value === null) return false;
  const { slot, incarnation, epoch } = value as Readonly<Record<string, unknown>>;
  return typeof slot === "number" && typeof incarnation === "string" && typeof epoch === "number";
}
