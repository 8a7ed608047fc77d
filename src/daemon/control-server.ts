import { createServer, type Server } from "node:net";
import { ControlConnection } from "./control-connection.ts";
import type { Daemon } from "./daemon.ts";
import { listenOnSocket } from "./socket-file.ts";

/** Clients at a time; more are sent away, and may come again. */
const MOST_CONNECTIONS = 256;

/** The control socket of a daemon. Who may open the file (mode 0600) may do everything. */
export class ControlServer {
  readonly #server: Server;
  readonly #connections = new Set<ControlConnection>();
  #remove: () => void = () => {};

  private constructor(daemon: Daemon) {
    this.#server = createServer((socket) => {
      if (this.#connections.size >= MOST_CONNECTIONS) {
        socket.on("error", () => {});
        socket.destroy();
        return;
      }
      const connection = new ControlConnection(daemon, socket);
      this.#connections.add(connection);
      socket.on("close", () => this.#connections.delete(connection));
    });
  }

  /** Listens from now on. Errors as of `listenOnSocket`. */
  static async start(daemon: Daemon, path: string): Promise<ControlServer> {
    const server = new ControlServer(daemon);
    server.#remove = await listenOnSocket(server.#server, path);
    return server;
  }

  close(): void {
    this.#remove();
    this.#server.close();
    for (const connection of this.#connections) connection.close();
  }
}
