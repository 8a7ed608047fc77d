import { connect, type Socket } from "node:net";
import { type Deferred, deferred } from "../../base/deferred.ts";
import { MdError } from "../../base/md-error.ts";
import type { Timer } from "../../env/clock.ts";
import type { Env } from "../../env/env.ts";
import type { LockCall, LockEvent, LockReply, LockspaceId } from "../lock-call.ts";
import type { LockMaster, Subscription, WatchedMember } from "../lock-master.ts";
import { receiveFrames, sendFrame } from "./frames.ts";
import { RESPONSE_LIMIT, SOCKET_PROTOCOL, type SocketRequest, type SocketResponse } from "./socket-protocol.ts";

export interface SocketLockMasterOptions {
  readonly socketPath: string;
  readonly env: Env;
}

const RECONNECT_MS = 100;
const HELLO_MS = 2000;

/**
 * Connects to the embedded lock server; rejects with E_LOCK_SERVICE_LOST if none listens, E_PROTOCOL_VERSION if it is
 * of another version. Reconnects by itself later.
 */
export async function connectSocketMaster(options: SocketLockMasterOptions): Promise<LockMaster> {
  const master = new SocketLockMaster(options);
  try {
    await master.connect();
  } catch (error) {
    await master.close();
    throw error;
  }
  return master;
}

interface Watch {
  readonly lockspace: LockspaceId;
  readonly member: WatchedMember;
  readonly deliver: (events: readonly LockEvent[]) => void;
}

class SocketLockMaster implements LockMaster {
  readonly about: string;
  readonly #options: SocketLockMasterOptions;
  readonly #calls = new Map<number, Deferred<LockReply>>();
  readonly #watches = new Map<number, Watch>();
  readonly #listeners = new Set<(reachable: boolean) => void>();
  #socket: Socket | null = null;
  #nextId = 1;
  #closed = false;
  #timer: Timer | null = null;
  /** Final: the server speaks another version. */
  #refused: MdError | null = null;

  constructor(options: SocketLockMasterOptions) {
    this.#options = options;
    this.about = `unix:${options.socketPath}`;
  }

  /** One attempt. Resolves when the server has introduced itself. */
  connect(): Promise<void> {
    const { env, socketPath } = this.#options;
    const ready = deferred<void>();
    const socket = connect(socketPath);
    const timer = env.clock.after(HELLO_MS, () => socket.destroy());
    let introduced = false;
    const bad = (): void => void socket.destroy();
    const receive = (value: unknown): void => {
      const response = value as SocketResponse;
      if (introduced || response.type === "refused") {
        this.#receive(response);
      } else if (response.type === "hello" && response.protocol === SOCKET_PROTOCOL) {
        timer.cancel();
        if (this.#closed) {
          socket.destroy();
          return;
        }
        introduced = true;
        this.#socket = socket;
        ready.resolve();
        for (const [id, { lockspace, member }] of this.#watches) this.#send({ type: "watch", id, lockspace, member });
      } else {
        socket.destroy();
      }
    };
    receiveFrames(socket, RESPONSE_LIMIT, receive, bad);
    socket.on("error", bad);
    socket.on("close", () => {
      timer.cancel();
      ready.reject(this.#refused ?? this.#unreachable());
      if (introduced) this.#disconnected(socket);
    });
    sendFrame(socket, { type: "hello", protocol: SOCKET_PROTOCOL } satisfies SocketRequest);
    return ready.promise;
  }

  #unreachable(): MdError {
    return new MdError("E_LOCK_SERVICE_LOST", `the lock server ${this.about} does not answer`);
  }

  #receive(response: SocketResponse): void {
    switch (response.type) {
      case "reply":
        this.#calls.get(response.id)?.resolve(response.reply);
        this.#calls.delete(response.id);
        break;
      case "events":
        this.#watches.get(response.id)?.deliver(response.events);
        break;
      case "refused":
        this.#refused = new MdError("E_PROTOCOL_VERSION", `the lock server ${this.about} refuses: ${response.reason}`);
        break;
      case "hello":
        break;
    }
  }

  #disconnected(socket: Socket): void {
    if (this.#socket !== socket) return;
    this.#socket = null;
    for (const call of this.#calls.values()) call.reject(this.#unreachable());
    this.#calls.clear();
    if (this.#closed) return;
    this.#tell(false);
    this.#reconnectLater();
  }

  #reconnectLater(): void {
    this.#timer = this.#options.env.clock.after(RECONNECT_MS, () => {
      if (this.#closed) return;
      this.connect().then(
        () => this.#tell(true),
        () => this.#reconnectLater(),
      );
    });
  }

  #tell(reachable: boolean): void {
    for (const listener of [...this.#listeners]) listener(reachable);
  }

  #send(request: SocketRequest): boolean {
    return this.#socket !== null && sendFrame(this.#socket, request);
  }

  call(lockspace: LockspaceId, call: LockCall): Promise<LockReply> {
    const id = this.#nextId++;
    const waiting = deferred<LockReply>();
    this.#calls.set(id, waiting);
    if (!this.#send({ type: "call", id, lockspace, call })) {
      this.#calls.delete(id);
      return Promise.reject(this.#refused ?? this.#unreachable());
    }
    return waiting.promise;
  }

  watch(lockspace: LockspaceId, member: WatchedMember, deliver: (events: readonly LockEvent[]) => void): Subscription {
    const id = this.#nextId++;
    this.#watches.set(id, { lockspace, member, deliver });
    this.#send({ type: "watch", id, lockspace, member });
    return {
      stop: () => {
        this.#watches.delete(id);
        this.#send({ type: "unwatch", id });
      },
    };
  }

  onReachable(listener: (reachable: boolean) => void): Subscription {
    this.#listeners.add(listener);
    return { stop: () => this.#listeners.delete(listener) };
  }

  close(): Promise<void> {
    this.#closed = true;
    this.#timer?.cancel();
    this.#watches.clear();
    const socket = this.#socket;
    this.#socket = null;
    socket?.destroy();
    for (const call of this.#calls.values()) call.reject(this.#unreachable());
    this.#calls.clear();
    return Promise.resolve();
  }
}
