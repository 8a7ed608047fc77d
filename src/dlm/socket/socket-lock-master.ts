import type { Socket } from "node:net";
import { type Deferred, deferred } from "../../base/deferred.ts";
import { MdError } from "../../base/md-error.ts";
import type { Timer } from "../../env/clock.ts";
import type { Env } from "../../env/env.ts";
import { KnownMembers, type MemberDetails, type WireReply } from "../known-members.ts";
import type { LockCall, LockEvent, LockReply, LockspaceId } from "../lock-call.ts";
import type { LockMaster, Subscription, WatchedMember } from "../lock-master.ts";
import { aboutServer, dial, dialProblem, type ServerAddress } from "./dial.ts";
import { BadFrame, FrameReader, sendFrame } from "./frames.ts";
import type { NetAddress } from "./socket-address.ts";
import {
  RESPONSE_LIMIT,
  type Refusal,
  SOCKET_PROTOCOL,
  type SocketRequest,
  type SocketResponse,
} from "./socket-protocol.ts";

export type SocketLockMasterOptions = { readonly env: Env } & (
  | { readonly socketPath: string }
  | { readonly server: NetAddress }
);

const RECONNECT_MS = 100;
/** After a refusal that only a person can mend. */
const REFUSED_MS = 1000;
const HELLO_MS = 2000;
/** A server that leaves a call unanswered for this long, and says nothing else either, is taken for dead. */
const SILENCE_MS = 2000;

/**
 * Connects to the embedded lock server. Rejects with E_LOCK_SERVICE_LOST if none listens, E_PROTOCOL_VERSION if it is
 * of another version or no lock server at all, E_PERMISSION if one of the two certificates does not count, and with
 * what `readTlsFiles` throws. Reconnects by itself later.
 */
export async function connectSocketMaster(options: SocketLockMasterOptions): Promise<LockMaster> {
  const address = "server" in options ? options.server : options.socketPath;
  const master = new SocketLockMaster(address, options.env);
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

interface Waiting extends Deferred<LockReply> {
  readonly lockspace: LockspaceId;
  readonly known: MemberDetails | undefined;
}

class SocketLockMaster implements LockMaster {
  readonly about: string;
  readonly #address: ServerAddress;
  readonly #env: Env;
  readonly #calls = new Map<number, Waiting>();
  readonly #known = new KnownMembers();
  readonly #watches = new Map<number, Watch>();
  readonly #listeners = new Set<(reachable: boolean) => void>();
  #socket: Socket | null = null;
  #nextId = 1;
  #closed = false;
  #timer: Timer | null = null;
  #silence: Timer | null = null;
  /** When the server last said something, or was asked after a silence. */
  #heardAt = 0;
  /** Why there is no connection, as far as it is known. */
  #problem: MdError | null = null;
  #toldCode: MdError["code"] | null = null;

  constructor(address: ServerAddress, env: Env) {
    this.#address = address;
    this.#env = env;
    this.about = aboutServer(address);
  }

  /** One attempt. Resolves when the server has introduced itself. */
  connect(): Promise<void> {
    const { clock } = this.#env;
    const ready = deferred<void>();
    let socket: Socket;
    try {
      socket = dial(this.#address, this.#env);
    } catch (error) {
      return Promise.reject(error);
    }
    const timer = clock.after(HELLO_MS, () => socket.destroy());
    const reader = new FrameReader(RESPONSE_LIMIT);
    let introduced = false;
    let cause: Error | null = null;
    let refused: MdError | null = null;
    const introduce = (): void => {
      timer.cancel();
      introduced = true;
      this.#socket = socket;
      this.#toldCode = null;
      ready.resolve();
      for (const [id, { lockspace, member }] of this.#watches) this.#send({ type: "watch", id, lockspace, member });
    };
    const receive = (response: SocketResponse): void => {
      if (response.type === "refused") refused = refusal(this.about, response.kind, response.reason);
      else if (introduced) this.#receive(response);
      else if (response.type !== "hello" || response.protocol !== SOCKET_PROTOCOL || this.#closed) socket.destroy();
      else introduce();
    };
    socket.on("data", (chunk: Buffer) => {
      this.#heardAt = clock.now();
      reader.push(chunk);
      try {
        for (let frame = reader.next(); frame !== null; frame = reader.next()) receive(frame.value as SocketResponse);
      } catch (error) {
        if (!(error instanceof BadFrame)) throw error;
        socket.destroy(error);
      }
    });
    socket.on("error", (error) => {
      cause = error;
      socket.destroy();
    });
    socket.on("close", () => {
      timer.cancel();
      this.#problem = refused ?? dialProblem(this.#address, cause);
      ready.reject(this.#problem);
      if (introduced) this.#disconnected(socket);
    });
    // Under TLS not before we know whom we speak with.
    const opened = typeof this.#address === "string" || this.#address.tls === null ? "connect" : "secureConnect";
    const hello = { type: "hello", protocol: SOCKET_PROTOCOL } satisfies SocketRequest;
    socket.once(opened, () => sendFrame(socket, hello));
    return ready.promise;
  }

  /**
   * What a call gets that has no answer. Nothing is final to who was let in once: a certificate may be renewed, the
   * right version of the server started again, and until then the lease lasts.
   */
  #unreachable(): MdError {
    const why = this.#problem?.why ?? null;
    const details = why === null ? {} : { why };
    return new MdError("E_LOCK_SERVICE_LOST", `the lock server ${this.about} does not answer`, details);
  }

  #receive(response: SocketResponse): void {
    switch (response.type) {
      case "reply":
        this.#answered(response.id, response.reply);
        break;
      case "events":
        this.#watches.get(response.id)?.deliver(response.events);
        break;
      case "hello":
      case "refused":
        break;
    }
  }

  #answered(id: number, said: WireReply): void {
    const call = this.#calls.get(id);
    if (call === undefined) return;
    const reply = this.#known.complete(call.lockspace, call.known, said);
    if (reply === null) throw new BadFrame("an answer that cannot be");
    call.resolve(reply);
    this.#calls.delete(id);
    if (this.#calls.size > 0) return;
    // An idle node is not to wake for it.
    this.#silence?.cancel();
    this.#silence = null;
  }

  #disconnected(socket: Socket): void {
    if (this.#socket !== socket) return;
    this.#socket = null;
    for (const call of this.#calls.values()) call.reject(this.#unreachable());
    this.#calls.clear();
    if (this.#closed) return;
    this.#tell(false);
    this.#reconnectLater(RECONNECT_MS);
  }

  #reconnectLater(ms: number): void {
    this.#timer = this.#env.clock.after(ms, () => {
      if (this.#closed) return;
      this.connect().then(
        () => this.#tell(true),
        (error: unknown) => {
          if (!(error instanceof MdError)) throw error;
          this.#tellProblem(error);
          this.#problem = error;
          this.#reconnectLater(error.code === "E_LOCK_SERVICE_LOST" ? RECONNECT_MS : REFUSED_MS);
        },
      );
    });
  }

  /** Once for each problem that only a person can mend. */
  #tellProblem({ code, message, why }: MdError): void {
    if (code === "E_LOCK_SERVICE_LOST" || code === this.#toldCode) return;
    this.#toldCode = code;
    this.#env.log.error({ evt: "lock_server.refused", code, why }, why === null ? message : `${message}: ${why}`);
  }

  #tell(reachable: boolean): void {
    for (const listener of [...this.#listeners]) listener(reachable);
  }

  #send(request: SocketRequest): boolean {
    return this.#socket !== null && sendFrame(this.#socket, request);
  }

  call(lockspace: LockspaceId, call: LockCall): Promise<LockReply> {
    const id = this.#nextId++;
    const known = this.#known.of(lockspace, call);
    const waiting = { ...deferred<LockReply>(), lockspace, known };
    this.#calls.set(id, waiting);
    const request = { type: "call", id, lockspace, call } as const;
    if (!this.#send(known === undefined ? request : { ...request, known: known.generation })) {
      this.#calls.delete(id);
      return Promise.reject(this.#unreachable());
    }
    if (this.#calls.size === 1) this.#heardAt = this.#env.clock.now();
    this.#silence ??= this.#env.clock.after(SILENCE_MS, () => this.#listen());
    return waiting.promise;
  }

  /** Ends a connection over which nothing comes although something should. */
  #listen(): void {
    this.#silence = null;
    if (this.#calls.size === 0) return;
    const left = this.#heardAt + SILENCE_MS - this.#env.clock.now();
    if (left <= 0) this.#socket?.destroy(new Error(`no answer for ${SILENCE_MS} ms`));
    else this.#silence = this.#env.clock.after(left, () => this.#listen());
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
    this.#silence?.cancel();
    this.#watches.clear();
    const socket = this.#socket;
    this.#socket = null;
    socket?.destroy();
    for (const call of this.#calls.values()) call.reject(this.#unreachable());
    this.#calls.clear();
    return Promise.resolve();
  }
}

function refusal(about: string, kind: Refusal, reason: string): MdError {
  if (kind === "certificate") {
    return new MdError("E_PERMISSION", `the lock server ${about} does not let this node in`, { why: reason });
  }
  const hint = "run the same version of mdctl on all hosts, then start the lock server again";
  return new MdError("E_PROTOCOL_VERSION", `the lock server ${about} refuses this node`, { why: reason, hint });
}
