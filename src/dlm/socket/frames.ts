import type { Socket } from "node:net";

/** A peer that does not read: above this much unsent its connection ends. */
const UNSENT_LIMIT = 8 * 1024 * 1024;

/** One JSON value a line. False: the peer does not read, and was cut off. */
export function sendFrame(socket: Socket, value: unknown): boolean {
  if (socket.destroyed) return false;
  socket.write(`${JSON.stringify(value)}\n`);
  if (socket.writableLength <= UNSENT_LIMIT) return true;
  socket.destroy();
  return false;
}

/** What a peer sends is no frame. */
export class BadFrame extends Error {
  override readonly name = "BadFrame";
}

/** Cuts a stream of bytes into frames: one JSON value a line. Keeps at most `limit` bytes and one chunk. */
export class FrameReader {
  /** Longest frame in bytes. */
  limit: number;
  /** What has arrived and was not taken yet. */
  #chunks: Buffer[] = [];
  #size = 0;
  /** Bytes in which no line ends. */
  #searched = 0;

  constructor(limit: number) {
    this.limit = limit;
  }

  push(chunk: Buffer): void {
    if (chunk.length === 0) return;
    this.#chunks.push(chunk);
    this.#size += chunk.length;
  }

  /** The next value, wrapped; null: it has not arrived whole. Throws BadFrame; nothing can be read after that. */
  next(): { readonly value: unknown } | null {
    const end = this.#findEnd();
    if ((end === -1 ? this.#size : end) > this.limit) throw new BadFrame(`a frame of more than ${this.limit} bytes`);
    if (end === -1) return null;
    const line = this.#take(end + 1).subarray(0, end);
    try {
      return { value: JSON.parse(line.toString("utf8")) as unknown };
    } catch {
      throw new BadFrame("not JSON");
    }
  }

  /** Where the first line ends, or -1. Bytes are looked at once. */
  #findEnd(): number {
    let before = 0;
    for (const chunk of this.#chunks) {
      const from = Math.max(0, this.#searched - before);
      const at = from < chunk.length ? chunk.indexOf(10, from) : -1;
      if (at !== -1) return before + at;
      before += chunk.length;
    }
    this.#searched = this.#size;
    return -1;
  }

  #take(count: number): Buffer {
    const [first = Buffer.alloc(0)] = this.#chunks;
    const all = this.#chunks.length === 1 ? first : Buffer.concat(this.#chunks);
    this.#chunks = all.length > count ? [all.subarray(count)] : [];
    this.#size -= count;
    this.#searched = 0;
    return all.subarray(0, count);
  }
}
