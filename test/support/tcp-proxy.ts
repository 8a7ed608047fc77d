import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";

/** `request`: from the client to the server. `reply`: the other way. */
export type Direction = "request" | "reply";

interface Way {
  held: boolean;
  delayMs: number;
  /** The next chunk is sent twice. */
  double: boolean;
  /** Chunks passed on so far. */
  chunks: number;
}

const directions: readonly Direction[] = ["request", "reply"];

/**
 * The network between a daemon and its lock server, to be broken: a port of the loopback that passes connections on to
 * another one. What is held is kept in order and sent when it heals, as a network does that loses no more packets.
 */
export class TcpProxy {
  readonly #server: Server;
  readonly #links = new Set<Link>();
  readonly #ways: Record<Direction, Way> = { request: openWay(), reply: openWay() };
  #target: number;
  #refuses = false;

  /** Passes on to `target`, a port of the loopback. */
  static async start(target: number): Promise<TcpProxy> {
    const proxy = new TcpProxy(target);
    proxy.#server.listen(0, "127.0.0.1");
    await once(proxy.#server, "listening");
    return proxy;
  }

  private constructor(target: number) {
    this.#target = target;
    this.#server = createServer((client) => this.#accept(client));
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  get connections(): number {
    return this.#links.size;
  }

  /** New connections go to this port; present ones are reset. */
  redirect(target: number): void {
    this.#target = target;
    this.reset();
  }

  /** Both ends of every connection get a reset; new connections are as good as ever. */
  reset(): void {
    for (const link of this.#links) link.reset();
  }

  /** Nothing is there any more: connections are reset and new ones refused. */
  cut(): void {
    this.#refuses = true;
    this.reset();
  }

  /** Half-open: connections stay, nothing is passed on in these directions. */
  hold(...which: readonly Direction[]): void {
    for (const direction of which) this.#ways[direction].held = true;
  }

  delay(ms: number, ...which: readonly Direction[]): void {
    for (const direction of which) this.#ways[direction].delayMs = ms;
  }

  /** The next bytes in this direction arrive twice; resolves when they have. */
  async doubleNext(direction: Direction): Promise<void> {
    const way = this.#ways[direction];
    way.double = true;
    while (way.double) await new Promise((resolve) => setImmediate(resolve));
  }

  /** As good as new. What was held is passed on first, late as it is. */
  heal(): void {
    this.#refuses = false;
    for (const direction of directions)
      Object.assign(this.#ways[direction], { held: false, delayMs: 0, double: false });
    for (const link of this.#links) link.flush();
  }

  /** Chunks that were passed on in a direction. */
  passed(direction: Direction): number {
    return this.#ways[direction].chunks;
  }

  async close(): Promise<void> {
    this.cut();
    this.#server.close();
    await once(this.#server, "close");
  }

  #accept(client: Socket): void {
    if (this.#refuses) {
      client.resetAndDestroy();
      return;
    }
    const link = new Link(client, connect(this.#target, "127.0.0.1"), this.#ways);
    this.#links.add(link);
    void link.ended.then(() => this.#links.delete(link));
  }
}

const openWay = (): Way => ({ held: false, delayMs: 0, double: false, chunks: 0 });

class Link {
  readonly ended: Promise<unknown>;
  readonly #sockets: readonly [Socket, Socket];
  readonly #lanes: readonly Lane[];

  constructor(client: Socket, server: Socket, ways: Readonly<Record<Direction, Way>>) {
    this.#sockets = [client, server];
    this.#lanes = [new Lane(client, server, ways.request), new Lane(server, client, ways.reply)];
    for (const socket of this.#sockets) {
      socket.setNoDelay(true);
      socket.on("error", () => this.reset());
      socket.on("close", () => this.reset());
    }
    this.ended = Promise.all(this.#sockets.map((socket) => new Promise((resolve) => socket.once("close", resolve))));
  }

  reset(): void {
    for (const socket of this.#sockets) {
      if (!socket.destroyed) socket.resetAndDestroy();
    }
  }

  flush(): void {
    for (const lane of this.#lanes) lane.pump();
  }
}

/** One direction of one connection. */
class Lane {
  readonly #to: Socket;
  readonly #way: Way;
  readonly #queue: { readonly chunk: Buffer; readonly since: number }[] = [];
  #timer: NodeJS.Timeout | null = null;

  constructor(from: Socket, to: Socket, way: Way) {
    this.#to = to;
    this.#way = way;
    from.on("data", (chunk) => {
      this.#queue.push({ chunk, since: performance.now() });
      this.pump();
    });
  }

  pump(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    for (let head = this.#queue[0]; head !== undefined; head = this.#queue[0]) {
      if (this.#way.held || this.#to.destroyed) return;
      const wait = head.since + this.#way.delayMs - performance.now();
      if (wait > 0) {
        this.#timer = setTimeout(() => this.pump(), wait);
        return;
      }
      this.#queue.shift();
      this.#way.chunks += 1;
      this.#to.write(head.chunk);
      if (!this.#way.double) continue;
      this.#way.double = false;
      this.#to.write(head.chunk);
    }
  }
}
