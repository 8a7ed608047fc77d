import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate as nextRound } from "node:timers/promises";
import type { IoRing, ListenAddress } from "../../src/blockdev/io-ring.ts";
import type { NbdExportOptions } from "../../src/blockdev/nbd/nbd-export-options.ts";
import { NbdServer } from "../../src/blockdev/nbd/nbd-server.ts";
import { openRing } from "../../src/blockdev/open-ring.ts";
import { realClock } from "../../src/env/real-env.ts";
import { MemorySink } from "./memory-sink.ts";
import { RawNbd } from "./raw-nbd.ts";

const TAG_BASE = 0x8000_0000;
const MIB = 1024 * 1024;

export interface NbdHostOptions extends Partial<Omit<NbdExportOptions, "address">> {
  readonly ring: "io_uring" | "threads";
  readonly transport?: "unix" | "tcp";
  readonly sizeBytes?: number;
  readonly blockSize?: number;
  readonly arenaBytes?: number;
  readonly sinkReadOnly?: boolean;
}

/** The NBD server on a real ring, over an array in memory, in a loop that leaves the test's own event loop turning. */
export class NbdHost {
  readonly ring: IoRing;
  readonly sink: MemorySink;
  readonly server: NbdServer;
  readonly uri: string;
  /** For `connect` of node:net. */
  readonly target: { readonly path: string } | { readonly port: number; readonly host: string };
  readonly #folder: string;
  readonly #name: string;
  readonly #clients: RawNbd[] = [];
  #draining = false;
  #drained = false;
  #stopped = false;
  #failure: unknown = null;

  constructor(options: NbdHostOptions) {
    this.#folder = mkdtempSync(join(tmpdir(), "mdctl-nbd-"));
    this.#name = options.exportName ?? "disk";
    const path = join(this.#folder, "socket");
    const address: ListenAddress =
      options.transport === "tcp" ? { type: "tcp", host: "127.0.0.1", port: 0 } : { type: "unix", path };
    this.ring = openRing(options.ring, { entries: 256, arenaBytes: options.arenaBytes ?? 64 * MIB });
    const { blockSize, sinkReadOnly } = options;
    this.sink = new MemorySink(this.ring.arena, options.sizeBytes ?? 16 * MIB, {
      ...(blockSize === undefined ? {} : { blockSize }),
      ...(sinkReadOnly === undefined ? {} : { readOnly: sinkReadOnly }),
    });
    const seat = {
      ring: this.ring,
      sink: this.sink,
      arenaAt: 4096,
      arenaBytes: this.ring.arena.length - 4096,
      tagBase: TAG_BASE,
    };
    const exported = {
      address,
      exportName: this.#name,
      readOnly: options.readOnly ?? false,
      multiConn: options.multiConn ?? true,
    };
    this.server = new NbdServer(seat, exported, realClock);
    this.target = address.type === "unix" ? { path } : { host: "127.0.0.1", port: this.server.port };
    this.uri = this.uriOf(this.#name);
    if (this.ring.onReady === null) void this.#poll();
    else this.ring.onReady.set(() => this.#guardedTurn(-1));
  }

  uriOf(name: string): string {
    const { target } = this;
    return "path" in target ? `nbd+unix:///${name}?socket=${target.path}` : `nbd://127.0.0.1:${target.port}/${name}`;
  }

  /** A raw connection, before the greeting. */
  async connect(): Promise<RawNbd> {
    const client = await RawNbd.connect(this.target);
    this.#clients.push(client);
    return client;
  }

  /** A connection in the data phase. */
  async client(options: { readonly structured?: boolean } = {}): Promise<RawNbd> {
    const client = await this.connect();
    await client.negotiate(this.#name, options);
    return client;
  }

  /** Lets the server turn until the condition holds. */
  async until(condition: () => boolean, what: string): Promise<void> {
    for (const deadline = Date.now() + 20_000; !condition(); await nextRound()) {
      if (this.#failure !== null) throw this.#failure;
      if (Date.now() > deadline) throw new Error(`it never came about that ${what}`);
    }
  }

  /** Nothing is under way, no memory is missing. */
  async isWhole(): Promise<void> {
    const { server } = this;
    await this.until(
      () => server.connections === 0 && server.usage.requests === 0 && server.usage.freePages === server.usage.pages,
      "all connections, requests and buffers are free",
    );
  }

  /** The array's state of affairs has changed: answers may go out. */
  letGo(): void {
    this.sink.holding = false;
    this.#guardedTurn(0);
  }

  startDraining(): void {
    this.#draining = true;
    this.#guardedTurn(0);
  }

  get drained(): boolean {
    return this.#drained;
  }

  async stop(): Promise<void> {
    for (const client of this.#clients) client.destroy();
    this.sink.holding = false;
    this.startDraining();
    try {
      await this.until(() => {
        if (this.ring.onReady !== null) this.#guardedTurn(0);
        return this.#drained;
      }, "the server is drained");
    } finally {
      this.#stopped = true;
      await nextRound();
      this.ring.close();
      rmSync(this.#folder, { recursive: true });
    }
    if (this.#failure !== null) throw this.#failure;
  }

  async #poll(): Promise<void> {
    while (!this.#stopped && this.#failure === null) {
      this.#guardedTurn(1);
      await nextRound();
    }
  }

  #guardedTurn(waitMs: number): void {
    if (this.#stopped || this.#failure !== null) return;
    try {
      this.#turn(waitMs);
    } catch (error) {
      this.#failure = error;
    }
  }

  #turn(waitMs: number): void {
    const { ring, server, sink } = this;
    let count = ring.submitAndReap(waitMs);
    do {
      for (let i = 0; i < count; i++) {
        const tag = ring.completedTag[i] ?? 0;
        if (tag < TAG_BASE) throw new Error(`tag ${tag} is not the front end's`);
        server.ringCompletion(tag & 0xffffff, ring.completedResult[i] ?? 0);
      }
      sink.run();
      server.endTurn();
      sink.run();
      server.endTurn();
      if (this.#draining && !this.#drained) this.#drained = server.drain();
      count = ring.submitAndReap(0);
    } while (count > 0);
  }
}
