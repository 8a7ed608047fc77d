import { createServer, type Server, type Socket } from "node:net";
import { MdError } from "../base/md-error.ts";
import { Errno } from "./errno.ts";
import type { ListenAddress, SocketIndex, Tag } from "./io-ring.ts";
import { type ListeningSocket, listenSocket } from "./listen-socket.ts";
import type { Libc } from "./uring/libc.ts";

/** As many as the io_uring ring has room for; more are closed at once. */
const MAX_CONNECTIONS = 1024;

interface Listener {
  readonly type: "listener";
  readonly server: Server;
  readonly socket: ListeningSocket;
  /** Accepts that wait for a connection, or connections that wait for an accept. */
  readonly accepts: Tag[];
  readonly backlog: Socket[];
}

interface Connection {
  readonly type: "connection";
  readonly socket: Socket;
  readonly receives: { readonly buffer: number; readonly bytes: number; readonly tag: Tag }[];
  sends: number;
  ended: boolean;
  /** Negative errno once the connection broke. */
  error: number;
  closing: boolean;
}

/** A ring's sockets on Node's `net`: what it pushes is held back until somebody asks. */
export class NetSockets {
  readonly #libc: Libc | string;
  readonly #arena: Uint8Array;
  readonly #complete: (tag: Tag, result: number) => void;
  readonly #sockets: (Listener | Connection | undefined)[] = [];

  constructor(libc: Libc | string, arena: Uint8Array, complete: (tag: Tag, result: number) => void) {
    this.#libc = libc;
    this.#arena = arena;
    this.#complete = complete;
  }

  listen(address: ListenAddress): SocketIndex {
    if (typeof this.#libc === "string") throw new MdError("E_IO", "cannot listen", { why: this.#libc });
    const socket = listenSocket(this.#libc, address);
    const server = createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: address.type === "tcp" });
    const listener: Listener = { type: "listener", server, socket, accepts: [], backlog: [] };
    const index = this.#add(listener);
    server.maxConnections = MAX_CONNECTIONS;
    server.on("connection", (connection) => {
      // One that breaks before it is accepted shows that when it is used.
      connection.on("error", () => {});
      const tag = listener.accepts.shift();
      if (tag === undefined) listener.backlog.push(connection);
      else this.#complete(tag, this.#adopt(connection));
    });
    server.on("error", (error: NodeJS.ErrnoException) => {
      const tag = listener.accepts.shift();
      if (tag !== undefined) this.#complete(tag, error.errno ?? -Errno.EIO);
    });
    server.listen({ fd: socket.fd });
    return index;
  }

  portOf(index: SocketIndex): number {
    const listener = this.#sockets[index];
    return listener?.type === "listener" ? listener.socket.port : 0;
  }

  accept(index: SocketIndex, tag: Tag): void {
    const listener = this.#sockets[index];
    if (listener?.type !== "listener") {
      this.#complete(tag, -Errno.ECANCELED);
      return;
    }
    const connection = listener.backlog.shift();
    if (connection === undefined) listener.accepts.push(tag);
    else this.#complete(tag, this.#adopt(connection));
  }

  receive(index: SocketIndex, buffer: number, bytes: number, tag: Tag): void {
    const connection = this.#connection(index);
    if (connection === null) {
      this.#complete(tag, -Errno.ECANCELED);
      return;
    }
    connection.receives.push({ buffer, bytes, tag });
    this.#deliver(connection);
  }

  send(index: SocketIndex, buffer: number, bytes: number, tag: Tag): void {
    const connection = this.#connection(index);
    if (connection === null) {
      this.#complete(tag, -Errno.ECANCELED);
      return;
    }
    if (connection.error < 0) {
      this.#complete(tag, -Errno.EPIPE);
      return;
    }
    connection.sends++;
    connection.socket.write(this.#arena.subarray(buffer, buffer + bytes), (error) => {
      connection.sends--;
      this.#complete(tag, error ? sendErrno(error) : bytes);
      if (connection.closing && connection.sends === 0) this.#sockets[index] = undefined;
    });
  }

  close(index: SocketIndex): void {
    const entry = this.#sockets[index];
    if (entry === undefined) return;
    if (entry.type === "listener") {
      this.#sockets[index] = undefined;
      entry.socket.unlink();
      entry.server.close();
      for (const connection of entry.backlog) connection.destroy();
      for (const tag of entry.accepts.splice(0)) this.#complete(tag, -Errno.ECANCELED);
      return;
    }
    if (entry.closing) return;
    entry.closing = true;
    // Sends in flight are called back with an error, and then the index is free.
    entry.socket.destroy();
    for (const { tag } of entry.receives.splice(0)) this.#complete(tag, -Errno.ECANCELED);
    if (entry.sends === 0) this.#sockets[index] = undefined;
  }

  closeAll(): void {
    this.#sockets.forEach((_, index) => {
      this.close(index);
    });
  }

  #add(entry: Listener | Connection): SocketIndex {
    let index = 0;
    while (this.#sockets[index] !== undefined) index++;
    this.#sockets[index] = entry;
    return index;
  }

  #connection(index: SocketIndex): Connection | null {
    const entry = this.#sockets[index];
    return entry?.type === "connection" && !entry.closing ? entry : null;
  }

  #adopt(socket: Socket): SocketIndex {
    const connection: Connection = {
      type: "connection",
      socket,
      receives: [],
      sends: 0,
      ended: false,
      error: socket.destroyed ? -Errno.ECONNRESET : 0,
      closing: false,
    };
    socket.on("readable", () => this.#deliver(connection));
    socket.on("end", () => {
      connection.ended = true;
      this.#deliver(connection);
    });
    socket.on("error", (error: NodeJS.ErrnoException) => {
      connection.error = error.errno ?? -Errno.EIO;
      this.#deliver(connection);
    });
    return this.#add(connection);
  }

  /** Hands what has arrived to the receives that wait, in order. */
  #deliver(connection: Connection): void {
    const { socket, receives } = connection;
    for (let next = receives[0]; next !== undefined; next = receives[0]) {
      const available = Math.min(next.bytes, socket.readableLength);
      const data = available > 0 ? (socket.read(available) as Buffer | null) : null;
      if (data !== null) {
        this.#arena.set(data, next.buffer);
        receives.shift();
        this.#complete(next.tag, data.length);
      } else if (connection.error < 0 || connection.ended) {
        receives.shift();
        this.#complete(next.tag, connection.error);
      } else {
        // Asks for more, and for `end` once there is no more.
        socket.read(0);
        return;
      }
    }
  }
}

/** A destroyed stream has an error without an errno. */
const sendErrno = (error: NodeJS.ErrnoException): number =>
  typeof error.errno === "number" ? error.errno : -Errno.ECANCELED;
