import { rmSync } from "node:fs";
import { type AddressInfo, createServer, type Server } from "node:net";
import { deferred } from "../../base/deferred.ts";
import type { Timer } from "../../env/clock.ts";
import type { Env } from "../../env/env.ts";
import type { LockCall, LockReply, LockspaceId } from "../lock-call.ts";
import { MemoryLockMaster } from "../memory-lock-master.ts";
import { claimSocket, lstatOrNull } from "./claim-socket.ts";
import { HalfOpen } from "./half-open.ts";
import { recordListen } from "./listen-record.ts";
import { MembersMarker } from "./members-marker.ts";
import { type Arrival, listenInNetwork, renewCertificate } from "./net-listener.ts";
import { ServerConnection } from "./server-connection.ts";
import type { NetAddress } from "./socket-address.ts";

export interface LockServerOptions {
  /** Unix socket, mode 0600. The directory must exist and be writable by nobody else. */
  readonly socketPath: string;
  readonly env: Env;
  /** Milliseconds without a connection after which it ends by itself; null or absent: never. */
  readonly lingerMs?: number | null;
  /** Where it listens for other hosts besides; null or absent: nowhere. */
  readonly listen?: NetAddress | null;
}

export interface LockServer {
  readonly socketPath: string;
  /** Where it listens in the network, with the port that it got; null: nowhere. */
  readonly listen: NetAddress | null;
  /** Resolves when the server has ended, by `close` or because its socket was taken away. */
  readonly ended: Promise<void>;
  /** Reads certificate and key again. Throws what `readTlsFiles` throws, and goes on with the old ones then. */
  renewCertificate(): void;
  close(): Promise<void>;
}

/** How often the server looks whether the socket at its path is still its own, and whether its clients read. */
const LOOK_EVERY_MS = 1000;
/** Clients at once, on each of the two ways in: more than a cluster has nodes. */
const CONNECTIONS = 256;
/** The longest lease there is: for so long a former member of whom we know nothing may still write. */
const LONGEST_LEASE_MS = 600_000;

/**
 * The embedded lock server (`mdctl lockd`): of one host, or of a few if it listens in the network as well. Resolves
 * once it listens; null if another one serves this socket already (that one is to be used). Its state is in memory
 * only: when it dies, its former members bring it to the next one, which lets nobody else create a lockspace before
 * their leases have run out.
 * Rejects with E_PERMISSION if something at the path is not ours to replace, E_DAEMON if the port cannot be had, and
 * with what `readTlsFiles` throws.
 */
export async function runLockServer(options: LockServerOptions): Promise<LockServer | null> {
  const service = new LockService(options);
  try {
    if (await service.start()) return service;
  } catch (error) {
    await service.close();
    throw error;
  }
  await service.close();
  return null;
}

class LockService implements LockServer {
  readonly socketPath: string;
  readonly env: Env;
  readonly master: MemoryLockMaster;
  readonly #marker: MembersMarker;
  readonly #servers: Server[] = [];
  readonly #connections = new Set<ServerConnection>();
  readonly #halfOpen = new HalfOpen();
  readonly #ended = deferred<void>();
  readonly #lingerMs: number;
  #listen: NetAddress | null;
  #forgotUntil = 0;
  #inode = 0;
  #timer: Timer | null = null;
  /** `Clock.now` when there was a connection last. */
  #usedAt: number;
  #closed = false;

  constructor({ socketPath, env, lingerMs = null, listen = null }: LockServerOptions) {
    this.#lingerMs = lingerMs ?? Number.POSITIVE_INFINITY;
    this.#usedAt = env.clock.now();
    this.#listen = listen;
    this.socketPath = socketPath;
    this.env = env;
    this.#marker = new MembersMarker(`${socketPath}.members`);
    this.master = new MemoryLockMaster({
      mayHaveForgotten: () => env.clock.now() < this.#forgotUntil,
      life: Buffer.from(env.random.bytes(8)).toString("hex"),
    });
  }

  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  get listen(): NetAddress | null {
    return this.#listen;
  }

  /** False: another one serves the socket. */
  async start(): Promise<boolean> {
    const own = createServer((socket) => {
      this.#halfOpen.add(socket);
      this.#accept({ socket, about: "a process of this host", names: null, problem: null });
    });
    // From the first client on: a former member may be the first to come.
    const leaseMs = this.#listen === null ? this.#marker.left() : LONGEST_LEASE_MS;
    // A joiner waits a lease from its first look on, so that a look at the last moment still covers the whole.
    this.#forgotUntil = leaseMs === 0 ? 0 : this.env.clock.now() + leaseMs;
    this.#serveWith(own);
    if (!(await claimSocket(own, this.socketPath))) return false;
    this.#inode = lstatOrNull(this.socketPath)?.ino ?? 0;
    if (this.#listen !== null) await this.#listenInNetwork(this.#listen);
    recordListen(this.socketPath, this.#listen);
    this.#look();
    return true;
  }

  async #listenInNetwork(address: NetAddress): Promise<void> {
    const server = await listenInNetwork({
      address,
      env: this.env,
      onRaw: (socket) => this.#halfOpen.add(socket),
      onArrival: (arrival) => this.#accept(arrival),
    });
    this.#serveWith(server);
    this.#listen = { ...address, port: (server.address() as AddressInfo).port };
  }

  #serveWith(server: Server): void {
    server.maxConnections = CONNECTIONS;
    server.on("drop", () =>
      this.env.log.warn({ evt: "lockd.full" }, `more than ${CONNECTIONS} clients: one is refused`),
    );
    this.#servers.push(server);
  }

  renewCertificate(): void {
    const server = this.#servers[1];
    if (server !== undefined && this.#listen !== null) renewCertificate(server, this.#listen, this.env);
  }

  #look(): void {
    if (lstatOrNull(this.socketPath)?.ino !== this.#inode) {
      this.env.log.error({ evt: "lockd.replaced", path: this.socketPath }, "the socket was taken away: ending");
      void this.close();
      return;
    }
    for (const connection of this.#connections) connection.look();
    const now = this.env.clock.now();
    if (this.#connections.size > 0) this.#usedAt = now;
    if (now - this.#usedAt >= this.#lingerMs) {
      this.env.log.info({ evt: "lockd.unused", path: this.socketPath }, "nobody has used it for long: ending");
      void this.close();
      return;
    }
    this.#timer = this.env.clock.after(LOOK_EVERY_MS, () => this.#look());
  }

  #accept({ socket, about, names, problem }: Arrival): void {
    const onHello = (): void => this.#halfOpen.remove(socket);
    const connection = new ServerConnection(this, socket, { about, names, onHello });
    this.#connections.add(connection);
    socket.on("close", () => this.#connections.delete(connection));
    if (problem !== null) connection.refuse("certificate", problem);
    if (this.#closed) socket.destroy();
  }

  async execute(lockspace: LockspaceId, call: LockCall): Promise<LockReply> {
    if (call.op === "join") this.#marker.joined(call.leaseMs);
    if (call.op === "recover") this.#marker.joined(call.settings.leaseMs);
    const reply = await this.master.call(lockspace, call);
    // Those of the predecessor who have not reported yet are members all the same.
    if (this.master.memberCount === 0 && this.env.clock.now() >= this.#forgotUntil) this.#marker.empty();
    return reply;
  }

  async close(): Promise<void> {
    if (this.#closed) return this.ended;
    this.#closed = true;
    this.#timer?.cancel();
    if (this.#inode !== 0 && lstatOrNull(this.socketPath)?.ino === this.#inode) {
      rmSync(this.socketPath, { force: true });
      recordListen(this.socketPath, null);
    }
    for (const connection of this.#connections) connection.end();
    this.#halfOpen.clear();
    await Promise.all(this.#servers.map(closed));
    await this.master.close();
    this.#ended.resolve();
  }
}

const closed = (server: Server): Promise<void> =>
  new Promise((resolve) => {
    if (server.listening) server.close(() => resolve());
    else resolve();
  });
