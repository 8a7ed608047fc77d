import { connect, type Socket } from "node:net";
import { connect as connectTls, type TLSSocket, type ConnectionOptions as TlsOptions } from "node:tls";
import { AbstractConnector } from "ioredis";
import type { HostPort } from "./redis-url.ts";
import { ReplyGuard } from "./reply-guard.ts";

/** Where one connection goes, with what is needed to trust the other end. */
export interface Endpoint {
  readonly at: HostPort | { readonly path: string };
  readonly tls: TlsOptions | null;
}

/**
 * How ioredis gets its sockets from us: each is watched by a ReplyGuard and ends when that complains. `listens`: messages of
 * a subscription may come unasked.
 */
export function guardedConnector(endpoint: Endpoint, listens = false): new (options: unknown) => AbstractConnector {
  return class extends AbstractConnector {
    constructor() {
      super(0);
    }

    /** At once: what is in flight has an unknown outcome anyway. */
    override disconnect(): void {
      this.connecting = false;
      this.stream?.destroy();
    }

    connect(): Promise<Socket | TLSSocket> {
      this.connecting = true;
      const { at, tls } = endpoint;
      const socket = tls === null ? connectPlain(at) : connectTls({ ...at, ...tls });
      guard(socket, new ReplyGuard(listens));
      socket.once("error", (error) => {
        this.firstError = error;
      });
      this.stream = socket;
      return Promise.resolve(socket);
    }
  };
}

/** How much is read at once. */
const READ_BYTES = 64 * 1024;

/** All is read into one buffer: left to itself Node reserves as much for each answer, however short. */
function connectPlain(at: Endpoint["at"]): Socket {
  const socket: Socket = connect({
    ...at,
    onread: {
      buffer: Buffer.allocUnsafeSlow(READ_BYTES),
      callback: (length, buffer) => socket.push(Buffer.from(buffer.subarray(0, length))),
    },
  });
  return socket;
}

/**
 * What arrives is inspected on its way into the stream: no listener, however early, sees what is refused. ioredis
 * writes each command at once and whole.
 */
function guard(socket: Socket, inspector: ReplyGuard): void {
  const push = socket.push.bind(socket);
  const write = socket.write.bind(socket) as (...args: readonly unknown[]) => boolean;
  let refused = false;
  socket.write = (...args: readonly unknown[]): boolean => {
    inspector.expectOne();
    return write(...args);
  };
  socket.push = (chunk: unknown, encoding?: BufferEncoding): boolean => {
    if (refused) return false;
    const complaint = chunk instanceof Uint8Array ? inspector.inspect(chunk) : null;
    if (complaint === null) return push(chunk, encoding);
    refused = true;
    socket.destroy(new Error(`it sent what no lock server sends: ${complaint}`));
    return false;
  };
}
