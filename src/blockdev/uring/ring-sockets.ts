import { closeSync } from "node:fs";
import { Errno } from "../errno.ts";
import type { ListenAddress, SocketIndex } from "../io-ring.ts";
import { type ListeningSocket, listenSocket } from "../listen-socket.ts";
import type { Libc } from "./libc.ts";
import type { RingFiles } from "./ring-files.ts";

const IPPROTO_TCP = 6;
const TCP_NODELAY = 1;
const SHUT_RDWR = 2;

interface Socket {
  readonly tcp: boolean;
  readonly listening: ListeningSocket | null;
  inFlight: number;
  closing: boolean;
}

/**
 * The sockets among the ring's files. A socket that is closed with operations in flight keeps its descriptor and its
 * index until the last of them has completed: nothing may reach a stranger that got the same number.
 */
export class RingSockets {
  readonly #libc: Libc;
  readonly #files: RingFiles;
  /** By file index. */
  readonly #sockets: (Socket | undefined)[] = [];

  constructor(libc: Libc, files: RingFiles) {
    this.#libc = libc;
    this.#files = files;
  }

  /** The index, or -EMFILE. Throws MdError as `listenSocket` does. */
  listen(address: ListenAddress): number {
    const listening = listenSocket(this.#libc, address);
    const index = this.#add(listening.fd, address.type === "tcp", listening);
    if (index < 0) listening.unlink();
    return index;
  }

  portOf(index: SocketIndex): number {
    return this.#sockets[index]?.listening?.port ?? 0;
  }

  isOpen(index: SocketIndex): boolean {
    return this.#sockets[index]?.closing === false;
  }

  /** An operation goes to the kernel. False: the socket is closing, and takes none. */
  begin(index: SocketIndex): boolean {
    const socket = this.#sockets[index];
    if (socket === undefined || socket.closing) return false;
    socket.inFlight++;
    return true;
  }

  /** It came back. The result to report: after `close` nothing is delivered any more. */
  end(index: SocketIndex, result: number): number {
    const socket = this.#sockets[index];
    if (socket === undefined) return -Errno.ECANCELED;
    socket.inFlight--;
    if (!socket.closing) return result;
    if (socket.inFlight === 0) this.#forget(index);
    return result > 0 ? -Errno.ECANCELED : result;
  }

  /** An accept came back with a descriptor: the index of the connection, or a negative errno. */
  endAccept(listener: SocketIndex, result: number): number {
    const tcp = this.#sockets[listener]?.tcp ?? false;
    const closing = this.#sockets[listener]?.closing ?? true;
    const reported = this.end(listener, result);
    if (result < 0) return reported;
    if (closing) {
      closeSync(result);
      return -Errno.ECANCELED;
    }
    if (tcp) this.#libc.setsockopt(result, IPPROTO_TCP, TCP_NODELAY, 1);
    return this.#add(result, tcp, null);
  }

  close(index: SocketIndex): void {
    const socket = this.#sockets[index];
    if (socket === undefined || socket.closing) return;
    socket.closing = true;
    socket.listening?.unlink();
    // Ends what is in flight, on both sides of the stream and at a listener.
    this.#libc.shutdown(this.#files.fd(index), SHUT_RDWR);
    if (socket.inFlight === 0) this.#forget(index);
  }

  /** Closes all; true once nothing of them is in flight. */
  closeAll(): boolean {
    this.#sockets.forEach((_, index) => {
      this.close(index);
    });
    return this.#sockets.every((socket) => socket === undefined);
  }

  #add(fd: number, tcp: boolean, listening: ListeningSocket | null): number {
    const index = this.#files.add(fd);
    if (index < 0) closeSync(fd);
    else this.#sockets[index] = { tcp, listening, inFlight: 0, closing: false };
    return index;
  }

  #forget(index: SocketIndex): void {
    this.#sockets[index] = undefined;
    this.#files.remove(index);
  }
}
