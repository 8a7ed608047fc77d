import { once } from "node:events";
import { connect, createServer, type NetConnectOpts, type Server, type Socket } from "node:net";

/** Stands between clients and a server and counts what passes, both ways: payload of the stream, not packet headers. */
export class PassThrough {
  bytes = 0;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(target: NetConnectOpts) {
    this.#server = createServer((client) => {
      const server = connect(target);
      for (const [from, to] of [
        [client, server],
        [server, client],
      ] as const) {
        this.#sockets.add(from);
        from.on("data", (chunk) => {
          this.bytes += chunk.length;
          to.write(chunk);
        });
        from.on("error", () => from.destroy());
        from.on("close", () => {
          this.#sockets.delete(from);
          to.destroy();
        });
      }
    });
  }

  /** `place`: a path, or a port of the loopback (0: any free one). */
  static async listen(place: string | number, target: NetConnectOpts): Promise<PassThrough> {
    const through = new PassThrough(target);
    const listening = once(through.#server, "listening");
    if (typeof place === "string") through.#server.listen(place);
    else through.#server.listen(place, "127.0.0.1");
    await listening;
    return through;
  }

  get port(): number {
    const address = this.#server.address();
    return typeof address === "object" && address !== null ? address.port : 0;
  }

  stop(): void {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }
}
