import type { Socket } from "node:net";

/** Connections that may be without a word at once. */
const LIMIT = 64;

/** Connections of which nothing is known yet. When there are too many, the oldest goes: who is honest speaks at once. */
export class HalfOpen {
  readonly #sockets = new Set<Socket>();

  add(socket: Socket): void {
    if (this.#sockets.size >= LIMIT) {
      const [oldest] = this.#sockets;
      oldest?.destroy();
      if (oldest !== undefined) this.#sockets.delete(oldest);
    }
    this.#sockets.add(socket);
    socket.once("close", () => this.#sockets.delete(socket));
  }

  /** It has introduced itself. Under TLS the socket that was added lies below this one, with the same peer. */
  remove(socket: Socket): void {
    if (this.#sockets.delete(socket)) return;
    for (const raw of this.#sockets) {
      const same = raw.remotePort === socket.remotePort && raw.remoteAddress === socket.remoteAddress;
      if (same) this.#sockets.delete(raw);
    }
  }

  clear(): void {
    for (const socket of this.#sockets) socket.destroy();
  }
}
