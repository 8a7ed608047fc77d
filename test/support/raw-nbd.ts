import { connect, type NetConnectOpts, type Socket } from "node:net";

export interface RawReply {
  readonly kind: "simple" | "data" | "error" | "none";
  readonly cookie: bigint;
  readonly errno: number;
  readonly data: Buffer;
  /** Of a data chunk. */
  readonly offset: bigint;
  readonly flags: number;
}

export const requestBytes = (
  command: number,
  fields: {
    readonly flags?: number;
    readonly cookie?: bigint;
    readonly offset?: bigint;
    readonly length?: number;
    readonly magic?: number;
  } = {},
): Buffer => {
  const bytes = Buffer.alloc(28);
  bytes.writeUInt32BE(fields.magic ?? 0x25609513, 0);
  bytes.writeUInt16BE(fields.flags ?? 0, 4);
  bytes.writeUInt16BE(command, 6);
  bytes.writeBigUInt64BE(fields.cookie ?? 1n, 8);
  bytes.writeBigUInt64BE(fields.offset ?? 0n, 16);
  bytes.writeUInt32BE(fields.length ?? 0, 24);
  return bytes;
};

export const optionBytes = (option: number, data: Uint8Array = new Uint8Array(0), length = data.length): Buffer => {
  const header = Buffer.alloc(16);
  header.write("IHAVEOPT", 0);
  header.writeUInt32BE(option, 8);
  header.writeUInt32BE(length, 12);
  return Buffer.concat([header, data]);
};

/** The data of INFO and GO. */
export const infoRequest = (name: string, types: readonly number[] = []): Buffer => {
  const text = Buffer.from(name);
  const bytes = Buffer.alloc(6 + text.length + 2 * types.length);
  bytes.writeUInt32BE(text.length, 0);
  text.copy(bytes, 4);
  bytes.writeUInt16BE(types.length, 4 + text.length);
  types.forEach((type, i) => {
    bytes.writeUInt16BE(type, 6 + text.length + 2 * i);
  });
  return bytes;
};

/** An NBD client that says anything, also what no client should. */
export class RawNbd {
  readonly socket: Socket;
  #chunks: Buffer[] = [];
  #length = 0;
  #ended = false;
  #wake: () => void = () => {};
  #structured = false;

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on("data", (data: Buffer) => {
      this.#chunks.push(data);
      this.#length += data.length;
      this.#wake();
    });
    const end = (): void => {
      this.#ended = true;
      this.#wake();
    };
    socket.on("end", end);
    socket.on("close", end);
    socket.on("error", end);
  }

  static async connect(target: NetConnectOpts): Promise<RawNbd> {
    const socket = connect(target);
    await new Promise<void>((resolve, reject) => {
      socket.once("connect", resolve);
      socket.once("error", reject);
    });
    return new RawNbd(socket);
  }

  send(...bytes: readonly Uint8Array[]): void {
    if (!this.socket.destroyed) this.socket.write(Buffer.concat(bytes));
  }

  destroy(): void {
    this.socket.destroy();
  }

  /** Exactly so many bytes; rejects when the server ends the connection before. */
  async read(count: number): Promise<Buffer> {
    while (this.#length < count) {
      if (this.#ended) throw new Error(`the server ended the connection (${this.#length} of ${count} bytes)`);
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    const all = this.#all();
    this.#chunks = [all.subarray(count)];
    this.#length -= count;
    return all.subarray(0, count);
  }

  /** What still comes until the server ends the connection. */
  async readToEnd(): Promise<Buffer> {
    while (!this.#ended) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    return this.#all();
  }

  #all(): Buffer {
    const all = this.#chunks.length === 1 ? this.#chunks[0] : undefined;
    return all ?? Buffer.concat(this.#chunks);
  }

  async negotiate(name: string, options: { readonly structured?: boolean } = {}): Promise<void> {
    await this.read(18);
    this.send(Uint8Array.of(0, 0, 0, 3));
    if (options.structured) {
      this.send(optionBytes(8));
      await this.optionReply();
      this.#structured = true;
    }
    this.send(optionBytes(7, infoRequest(name)));
    for (;;) {
      const { type } = await this.optionReply();
      if (type === 1) return;
      if (type >= 0x80000000) throw new Error(`GO is refused: ${type.toString(16)}`);
    }
  }

  async optionReply(): Promise<{ readonly option: number; readonly type: number; readonly data: Buffer }> {
    const header = await this.read(20);
    if (header.readBigUInt64BE(0) !== 0x0003e889045565a9n) throw new Error("an option reply with a wrong magic");
    const data = Buffer.from(await this.read(header.readUInt32BE(16)));
    return { option: header.readUInt32BE(8), type: header.readUInt32BE(12), data };
  }

  /** The next reply; `length`: of the data behind a simple one without error. */
  async reply(length = 0): Promise<RawReply> {
    const magic = (await this.read(4)).readUInt32BE(0);
    if (magic === 0x67446698) {
      const rest = await this.read(12);
      const errno = rest.readUInt32BE(0);
      const data = errno === 0 ? await this.read(length) : Buffer.alloc(0);
      return { kind: "simple", cookie: rest.readBigUInt64BE(4), errno, data, offset: 0n, flags: 0 };
    }
    if (magic !== 0x668e33ef || !this.#structured) throw new Error(`a reply with magic ${magic.toString(16)}`);
    const rest = await this.read(16);
    const flags = rest.readUInt16BE(0);
    const type = rest.readUInt16BE(2);
    const cookie = rest.readBigUInt64BE(4);
    const payload = await this.read(rest.readUInt32BE(12));
    if (type === 1) {
      return { kind: "data", cookie, errno: 0, data: payload.subarray(8), offset: payload.readBigUInt64BE(0), flags };
    }
    if (type === 0x8001) {
      return { kind: "error", cookie, errno: payload.readUInt32BE(0), data: payload.subarray(6), offset: 0n, flags };
    }
    throw new Error(`a chunk of type ${type}`);
  }

  /** One request and its reply. */
  async call(
    command: number,
    fields: Parameters<typeof requestBytes>[1] = {},
    payload: Uint8Array = new Uint8Array(0),
  ): Promise<RawReply> {
    this.send(requestBytes(command, fields), payload);
    return this.reply(command === 0 ? (fields.length ?? 0) : 0);
  }
}
