import { connect, type Socket } from "node:net";
import { MdError } from "../../base/md-error.ts";
import {
  Command,
  CommandFlag,
  HandshakeFlag,
  IHAVEOPT,
  InfoType,
  NBDMAGIC,
  OPTION_REPLY_MAGIC,
  Option,
  OptionReply,
  REQUEST_BYTES,
  REQUEST_MAGIC,
  SIMPLE_REPLY_BYTES,
  SIMPLE_REPLY_MAGIC,
} from "./protocol.ts";

const REP_ERROR = 0x80000000;
const MAX_OPTION_REPLY = 64 * 1024;

interface Pending {
  readonly readLength: number;
  readonly resolve: (data: Buffer) => void;
  readonly reject: (error: Error) => void;
}

/**
 * A plain NBD client (fixed newstyle, simple replies) for the demonstration and for tests: any number of requests in
 * flight, promises, no reconnect. A broken connection rejects what is in flight with E_IO.
 */
export class NbdClient {
  /** Bytes. */
  readonly size: number;
  readonly transmissionFlags: number;
  readonly #socket: Socket;
  readonly #reader: SocketReader;
  readonly #pending = new Map<number, Pending>();
  #nextCookie = 1;
  #broken: Error | null = null;

  private constructor(socket: Socket, reader: SocketReader, size: number, transmissionFlags: number) {
    this.#socket = socket;
    this.#reader = reader;
    this.size = size;
    this.transmissionFlags = transmissionFlags;
    void this.#receiveReplies();
  }

  /** `nbd+unix:///NAME?socket=PATH` or `nbd://HOST:PORT/NAME`. Rejects with E_VALUE or E_IO. */
  static async connect(uri: string): Promise<NbdClient> {
    const { target, name } = parseNbdUri(uri);
    const socket = "path" in target ? connect(target.path) : connect(target.port, target.host);
    socket.setNoDelay(true);
    const reader = new SocketReader(socket);
    try {
      const { size, flags } = await negotiate(socket, reader, name);
      return new NbdClient(socket, reader, size, flags);
    } catch (error) {
      socket.destroy();
      throw new MdError("E_IO", `cannot use the NBD export ${uri}`, { why: String(error), cause: error });
    }
  }

  /** The connection is of no more use. */
  get closed(): boolean {
    return this.#broken !== null || this.#socket.destroyed;
  }

  read(offset: number, length: number): Promise<Buffer> {
    return this.#request(Command.READ, offset, length, null, 0);
  }

  async write(offset: number, data: Uint8Array, options: { readonly fua?: boolean } = {}): Promise<void> {
    await this.#request(Command.WRITE, offset, data.byteLength, data, options.fua ? CommandFlag.FUA : 0);
  }

  async flush(): Promise<void> {
    await this.#request(Command.FLUSH, 0, 0, null, 0);
  }

  /** Says goodbye and waits until the connection is closed. */
  close(): Promise<void> {
    return new Promise((resolve) => {
      if (this.#socket.destroyed) return resolve();
      this.#socket.once("close", () => resolve());
      this.#socket.end(requestHeader(Command.DISC, 0, 0, 0, 0));
    });
  }

  #request(
    command: number,
    offset: number,
    length: number,
    payload: Uint8Array | null,
    flags: number,
  ): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      if (this.#broken !== null) return reject(this.#broken);
      const cookie = this.#nextCookie++;
      this.#pending.set(cookie, { readLength: command === Command.READ ? length : 0, resolve, reject });
      this.#socket.cork();
      this.#socket.write(requestHeader(command, flags, cookie, offset, length));
      if (payload !== null) this.#socket.write(payload);
      this.#socket.uncork();
    });
  }

  async #receiveReplies(): Promise<void> {
    try {
      for (;;) {
        const header = await this.#reader.take(SIMPLE_REPLY_BYTES);
        if (header.readUInt32BE(0) !== SIMPLE_REPLY_MAGIC) throw new Error("a reply with a wrong magic number");
        const cookie = Number(header.readBigUInt64BE(8));
        const pending = this.#pending.get(cookie);
        if (pending === undefined) throw new Error("a reply to no request");
        this.#pending.delete(cookie);
        const error = header.readUInt32BE(4);
        if (error !== 0)
          pending.reject(new MdError("E_IO", `the NBD server answered error ${error}`, { details: { error } }));
        else pending.resolve(await this.#reader.take(pending.readLength));
      }
    } catch (error) {
      this.#broken = new MdError("E_IO", "the NBD connection is broken", { why: String(error), cause: error });
      for (const { reject } of this.#pending.values()) reject(this.#broken);
      this.#pending.clear();
      this.#socket.destroy();
    }
  }
}

function requestHeader(command: number, flags: number, cookie: number, offset: number, length: number): Buffer {
  const header = Buffer.alloc(REQUEST_BYTES);
  header.writeUInt32BE(REQUEST_MAGIC, 0);
  header.writeUInt16BE(flags, 4);
  header.writeUInt16BE(command, 6);
  header.writeBigUInt64BE(BigInt(cookie), 8);
  header.writeBigUInt64BE(BigInt(offset), 16);
  header.writeUInt32BE(length, 24);
  return header;
}

async function negotiate(socket: Socket, reader: SocketReader, name: string): Promise<{ size: number; flags: number }> {
  const greeting = await reader.take(18);
  if (!hasMagic(greeting, 0, NBDMAGIC) || !hasMagic(greeting, 8, IHAVEOPT)) {
    throw new Error("this is no newstyle NBD server");
  }
  const noZeroes = greeting.readUInt16BE(16) & HandshakeFlag.NO_ZEROES;
  const text = Buffer.from(name);
  const go = Buffer.alloc(4 + 16 + 4 + text.length + 2);
  go.writeUInt32BE(HandshakeFlag.FIXED_NEWSTYLE | noZeroes, 0);
  go.writeUInt32BE(IHAVEOPT[0], 4);
  go.writeUInt32BE(IHAVEOPT[1], 8);
  go.writeUInt32BE(Option.GO, 12);
  go.writeUInt32BE(4 + text.length + 2, 16);
  go.writeUInt32BE(text.length, 20);
  text.copy(go, 24);
  socket.write(go);

  let size = -1;
  let flags = 0;
  for (;;) {
    const header = await reader.take(20);
    if (!hasMagic(header, 0, OPTION_REPLY_MAGIC)) throw new Error("an option reply with a wrong magic number");
    const type = header.readUInt32BE(12);
    const length = header.readUInt32BE(16);
    if (length > MAX_OPTION_REPLY) throw new Error(`an option reply of ${length} bytes`);
    const data = await reader.take(length);
    if (type >= REP_ERROR)
      throw new Error(`export "${name}" refused: ${data.toString() || `error ${type - REP_ERROR}`}`);
    if (type === OptionReply.INFO && data.readUInt16BE(0) === InfoType.EXPORT) {
      size = Number(data.readBigUInt64BE(2));
      flags = data.readUInt16BE(10);
    }
    if (type === OptionReply.ACK) {
      if (size < 0) throw new Error("the server told no size");
      return { size, flags };
    }
  }
}

const hasMagic = (bytes: Buffer, at: number, [high, low]: readonly [number, number]): boolean =>
  bytes.readUInt32BE(at) === high && bytes.readUInt32BE(at + 4) === low;

type Target = { readonly path: string } | { readonly host: string; readonly port: number };

function parseNbdUri(uri: string): { readonly target: Target; readonly name: string } {
  const url = URL.canParse(uri) ? new URL(uri) : null;
  const name = decodeURIComponent(url?.pathname.replace(/^\//, "") ?? "");
  const path = url?.searchParams.get("socket");
  if (url?.protocol === "nbd+unix:" && path) return { target: { path }, name };
  if (url?.protocol === "nbd:" && url.hostname !== "") {
    return { target: { host: url.hostname, port: Number(url.port || 10809) }, name };
  }
  throw new MdError("E_VALUE", `${uri} is not an NBD address`, {
    hint: "nbd+unix:///NAME?socket=PATH or nbd://HOST:PORT/NAME",
  });
}

/** Exactly so many bytes from a socket, one taker at a time. */
class SocketReader {
  #chunks: Buffer[] = [];
  #length = 0;
  #ended: Error | null = null;
  #wake: (() => void) | null = null;

  constructor(socket: Socket) {
    socket.on("data", (chunk: Buffer) => {
      this.#chunks.push(chunk);
      this.#length += chunk.length;
      this.#wake?.();
    });
    socket.on("error", (error) => this.#end(error));
    socket.on("close", () => this.#end(new Error("the server closed the connection")));
  }

  async take(bytes: number): Promise<Buffer> {
    while (this.#length < bytes) {
      if (this.#ended !== null) throw this.#ended;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    const all = this.#chunks.length === 1 ? (this.#chunks[0] ?? Buffer.alloc(0)) : Buffer.concat(this.#chunks);
    const rest = all.subarray(bytes);
    this.#chunks = rest.length === 0 ? [] : [rest];
    this.#length = rest.length;
    return all.subarray(0, bytes);
  }

  #end(error: Error): void {
    this.#ended ??= error;
    this.#wake?.();
  }
}
