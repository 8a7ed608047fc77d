import { setImmediate as nextRound } from "node:timers/promises";
import type { IoRing, Tag } from "../../src/blockdev/io-ring.ts";
import { ABORTED, DESCRIPTOR_WORDS, IoFlag, IoOp } from "../../src/blockdev/ublk/uapi.ts";
import type { UblkChannel, UblkQueues } from "../../src/blockdev/ublk/ublk-channel.ts";
import { UblkServer } from "../../src/blockdev/ublk/ublk-server.ts";
import type { ClientAnswer, FrontEndClient, FrontEndHost } from "../conformance/front-end.ts";
import { FakeRing } from "./fake-ring.ts";
import { MemorySink } from "./memory-sink.ts";

const MIB = 1024 * 1024;
const ARENA_AT = 4096;

/** A request of the block layer's: bytes. */
interface BlockRequest {
  readonly op: number;
  readonly flags?: number;
  readonly at: number;
  readonly bytes: number;
  readonly data?: Buffer;
}

interface Slot {
  state: "unfetched" | "idle" | "busy" | "aborted";
  buffer: number;
  request: BlockRequest | null;
  answer: (answer: ClientAnswer & { readonly result: number }) => void;
}

/** The kernel's half of the queues: hands requests to tags that are fetched, copies as the driver does. */
export class FakeUblkQueues implements UblkChannel {
  readonly descriptors: readonly Uint32Array[];
  closed = false;
  readonly #arena: Uint8Array;
  readonly #slots: Slot[][];
  readonly #ready: { readonly tag: Tag; readonly result: number }[] = [];
  readonly #waiting: { readonly request: BlockRequest; readonly answer: Slot["answer"]; readonly queue: number }[] = [];
  readonly #tags = new Map<Slot, Tag>();
  #stopping = false;

  constructor({ queues, depth }: UblkQueues, arena: Uint8Array) {
    this.#arena = arena;
    this.descriptors = Array.from({ length: queues }, () => new Uint32Array(depth * DESCRIPTOR_WORDS));
    this.#slots = Array.from({ length: queues }, () =>
      Array.from({ length: depth }, () => ({
        state: "unfetched" as const,
        buffer: 0,
        request: null,
        answer: () => {},
      })),
    );
  }

  fetch(queue: number, tag: number, buffer: number, _bytes: number, ringTag: Tag): void {
    const slot = this.#slot(queue, tag);
    if (slot.state !== "unfetched") throw new Error(`tag ${tag} is fetched twice`);
    Object.assign(slot, { state: "idle", buffer });
    this.#tags.set(slot, ringTag);
    this.#dispatch();
  }

  commit(queue: number, tag: number, result: number, buffer: number, _bytes: number, ringTag: Tag): void {
    const slot = this.#slot(queue, tag);
    const { request } = slot;
    if (slot.state !== "busy" || request === null) throw new Error(`tag ${tag} is committed, and was not asked`);
    const moves = request.op === IoOp.READ || request.op === IoOp.WRITE;
    if (moves && result >= 0 && result !== request.bytes) throw new Error(`a short result: ${result}`);
    const data =
      request.op === IoOp.READ && result > 0
        ? Buffer.from(this.#arena.slice(buffer, buffer + result))
        : Buffer.alloc(0);
    slot.answer({ errno: Math.max(0, -result), data, result });
    Object.assign(slot, { state: "idle", request: null, buffer });
    this.#tags.set(slot, ringTag);
    this.#dispatch();
  }

  close(): void {
    this.closed = true;
  }

  request(request: BlockRequest, queue = 0): Promise<ClientAnswer & { readonly result: number }> {
    return new Promise((answer) => {
      this.#waiting.push({ request, answer, queue });
      this.#dispatch();
    });
  }

  /** STOP_DEV: tags come back as soon as nothing is asked of them. */
  stop(): void {
    this.#stopping = true;
    this.#dispatch();
  }

  get busy(): number {
    return this.#slots.flat().filter(({ state }) => state === "busy").length;
  }

  reap(): readonly { readonly tag: Tag; readonly result: number }[] {
    return this.#ready.splice(0);
  }

  #slot(queue: number, tag: number): Slot {
    const slot = this.#slots[queue]?.[tag];
    if (slot === undefined) throw new Error(`there is no tag ${tag} of queue ${queue}`);
    return slot;
  }

  #dispatch(): void {
    for (const waiting of [...this.#waiting]) {
      const tag = this.#slots[waiting.queue]?.findIndex(({ state }) => state === "idle") ?? -1;
      if (tag < 0) continue;
      this.#waiting.splice(this.#waiting.indexOf(waiting), 1);
      this.#hand(waiting.queue, tag, waiting.request, waiting.answer);
    }
    if (!this.#stopping) return;
    for (const slot of this.#slots.flat()) {
      if (slot.state !== "idle") continue;
      slot.state = "aborted";
      this.#ready.push({ tag: this.#tags.get(slot) ?? 0, result: ABORTED });
    }
  }

  #hand(queue: number, tag: number, request: BlockRequest, answer: Slot["answer"]): void {
    const slot = this.#slot(queue, tag);
    Object.assign(slot, { state: "busy", request, answer });
    const start = request.at / 512;
    const words = [
      request.op | (request.flags ?? 0),
      request.bytes / 512,
      start >>> 0,
      Math.floor(start / 2 ** 32),
      0,
      0,
    ];
    this.descriptors[queue]?.set(words, tag * DESCRIPTOR_WORDS);
    if (request.data !== undefined) this.#arena.set(request.data, slot.buffer);
    this.#ready.push({ tag: this.#tags.get(slot) ?? 0, result: 0 });
  }
}

export interface UblkHostOptions {
  readonly queues?: number;
  readonly depth?: number;
  readonly bufferBytes?: number;
  readonly readOnly?: boolean;
  /** Buffers beyond one a tag. */
  readonly spares?: number;
  readonly blockSize?: number;
  readonly sizeBytes?: number;
}

/** The ublk front end over an array in memory, and the kernel's half of its queues. */
export class UblkTestHost implements FrontEndHost {
  readonly sink: MemorySink;
  readonly queues: FakeUblkQueues;
  readonly server: UblkServer;
  drained = false;
  #draining: "no" | "leaving" | "for good" = "no";
  #stopped = false;
  #failure: unknown = null;

  constructor(options: UblkHostOptions = {}) {
    const {
      queues = 1,
      depth = 32,
      bufferBytes = 256 * 1024,
      readOnly = false,
      spares = 0,
      blockSize = 512,
      sizeBytes = 16 * MIB,
    } = options;
    const arenaBytes = (queues * depth + spares) * bufferBytes;
    const fake = new FakeRing(ARENA_AT + arenaBytes);
    let opened: FakeUblkQueues | null = null;
    const ring: IoRing = Object.assign(fake, {
      openUblk: (wanted: UblkQueues) => {
        opened = new FakeUblkQueues(wanted, fake.arena);
        return opened;
      },
    });
    this.sink = new MemorySink(fake.arena, sizeBytes, { blockSize });
    const seat = { ring, sink: this.sink, arenaAt: ARENA_AT, arenaBytes, tagBase: 0x8000_0000 };
    this.server = new UblkServer(seat, { path: "/dev/ublkc0", queues, depth, encoded: true, bufferBytes, readOnly });
    if (opened === null) throw new Error("the queues were not opened");
    this.queues = opened;
    void this.#run();
  }

  client(): Promise<FrontEndClient> {
    let calls = 0;
    const call = (request: BlockRequest): Promise<ClientAnswer> =>
      this.queues.request(request, calls++ % this.queues.descriptors.length);
    return Promise.resolve({
      read: (at, bytes) => call({ op: IoOp.READ, at, bytes }),
      write: (at, data, { fua = false } = {}) =>
        call({ op: IoOp.WRITE, flags: fua ? IoFlag.FUA : 0, at, bytes: data.length, data }),
      flush: () => call({ op: IoOp.FLUSH, at: 0, bytes: 0 }),
      zero: (at, bytes, { noHole = false } = {}) =>
        call({ op: IoOp.WRITE_ZEROES, flags: noHole ? IoFlag.NOUNMAP : 0, at, bytes }),
      discard: (at, bytes) => call({ op: IoOp.DISCARD, at, bytes }),
    });
  }

  async until(condition: () => boolean, what: string): Promise<void> {
    for (const deadline = Date.now() + 20_000; !condition(); await nextRound()) {
      if (this.#failure !== null) throw this.#failure;
      if (Date.now() > deadline) throw new Error(`it never came about that ${what}`);
    }
  }

  letGo(): void {
    this.sink.holding = false;
  }

  /** As `unmap` does. */
  startDraining(): void {
    this.#draining = "for good";
    this.queues.stop();
  }

  /** As a daemon does that ends, or is replaced by another. */
  leave(): void {
    this.#draining = "leaving";
  }

  async stop(): Promise<void> {
    this.letGo();
    if (this.#draining === "no") this.startDraining();
    try {
      await this.until(() => this.drained, "the front end is drained");
    } finally {
      this.#stopped = true;
    }
  }

  async #run(): Promise<void> {
    try {
      for (; !this.#stopped; await nextRound()) this.#turn();
    } catch (error) {
      this.#failure = error;
    }
  }

  #turn(): void {
    const { queues, server, sink } = this;
    for (const { tag, result } of queues.reap()) server.ringCompletion(tag & 0xffffff, result);
    sink.run();
    server.endTurn();
    sink.run();
    if (this.#draining !== "no") this.drained = server.drain(this.#draining === "for good");
  }
}
