import type { Socket } from "node:net";
import { MdError } from "../base/md-error.ts";
import {
  type ControlEvent,
  type ControlMethod,
  type ControlReply,
  MAX_REQUEST_BYTES,
  type Note,
} from "./control-api.ts";
import type { Daemon } from "./daemon.ts";
import { errorInfo } from "./error-info.ts";
import { explainLost, lockServiceLost } from "./lock-service-lost.ts";
import type { Call, Method } from "./methods/method.ts";
import { methods } from "./methods/methods.ts";
import { ParamsReader } from "./params-reader.ts";
import { type DecodedRequest, decodeRequest, RequestRefused } from "./request-decoder.ts";

/** Requests of one connection at a time. */
const MOST_OPEN = 64;
/** Bytes that may wait for a client that does not read; then snapshots are skipped, and at last the client is dropped. */
const SLOW_BYTES = 1024 * 1024;
const LOST_BYTES = 16 * 1024 * 1024;

/** One client of the control socket: lines in, replies and events out. It cannot make the daemon keep much for it. */
export class ControlConnection {
  readonly #daemon: Daemon;
  readonly #socket: Socket;
  readonly #gone = new AbortController();
  readonly #open = new Set<number>();
  #parts: Buffer[] = [];
  #length = 0;

  constructor(daemon: Daemon, socket: Socket) {
    this.#daemon = daemon;
    this.#socket = socket;
    socket.on("data", (bytes: Buffer) => this.#receive(bytes));
    socket.on("error", () => {});
    socket.on("close", () => this.#gone.abort());
  }

  close(): void {
    this.#socket.destroy();
  }

  #receive(bytes: Buffer): void {
    let from = 0;
    for (let end = bytes.indexOf(10, from); end >= 0; end = bytes.indexOf(10, from)) {
      this.#keep(bytes.subarray(from, end));
      from = end + 1;
      if (this.#length > MAX_REQUEST_BYTES) break;
      const line = Buffer.concat(this.#parts, this.#length).toString("utf8");
      this.#parts = [];
      this.#length = 0;
      if (line.trim() !== "") this.#line(line);
      if (this.#socket.destroyed) return;
    }
    this.#keep(bytes.subarray(from));
    if (this.#length > MAX_REQUEST_BYTES) this.#tooLong();
  }

  #keep(bytes: Buffer): void {
    if (bytes.length === 0) return;
    this.#parts.push(bytes);
    this.#length += bytes.length;
  }

  #tooLong(): void {
    const error = new MdError("E_VALUE", `a request is longer than ${MAX_REQUEST_BYTES} bytes`);
    this.#parts = [];
    this.#length = 0;
    this.#refuse(null, error);
    this.#socket.end();
    this.#socket.removeAllListeners("data");
    this.#socket.resume();
  }

  #line(line: string): void {
    let request: DecodedRequest;
    try {
      request = decodeRequest(line);
    } catch (error) {
      if (!(error instanceof RequestRefused)) throw error;
      this.#refuse(error.id, error.reason);
      return;
    }
    const { id } = request;
    if (this.#open.size >= MOST_OPEN) {
      this.#refuse(id, new MdError("E_DAEMON", `more than ${MOST_OPEN} requests at a time`));
    } else if (this.#open.has(id)) {
      this.#refuse(id, new MdError("E_VALUE", `request ${id} is still open`));
    } else {
      this.#open.add(id);
      void this.#answer(request).finally(() => this.#open.delete(id));
    }
  }

  async #answer<M extends ControlMethod>(request: DecodedRequest & { readonly method: M }): Promise<void> {
    const { id, method, params, trace } = request;
    const { log } = this.#daemon.env;
    const { node, cluster } = this.#daemon.config;
    const warnings: Note[] = [];
    try {
      const reader = new ParamsReader(method, params);
      const implementation: Method<M> = methods[method] as unknown as Method<M>;
      const read = implementation.read(reader);
      reader.end();
      log.debug({ evt: "request", method, trace }, `request ${method}`);
      if (implementation.takesLocks === true) this.#daemon.refuseIfDrained();
      const frozen = implementation.takesLocks === true ? this.#daemon.frozen() : null;
      if (frozen !== null) throw lockServiceLost(frozen);
      const call: Call<M> = {
        daemon: this.#daemon,
        emit: (event) => this.#tell({ id, event } as ControlEvent),
        warn: (code, message, hint) => warnings.push({ code, message, ...(hint === undefined ? {} : { hint }) }),
        signal: this.#gone.signal,
      };
      const data = await implementation.run(read, call);
      this.#send({ id, ok: true, data, node, cluster, warnings } as ControlReply);
    } catch (error) {
      if (!(error instanceof MdError))
        log.error({ evt: "request_failed", method, trace, err: error }, `request ${method} failed`);
      this.#refuse(
        id,
        explainLost(error, () => this.#daemon.frozen()),
      );
      // A contradiction must stop this node, after it has said so.
      if (error instanceof Error && error.name === "AssertionError") throw error;
    }
  }

  #refuse(id: number | null, error: unknown): void {
    const { node, cluster } = this.#daemon.config;
    this.#send({ id, ok: false, error: errorInfo(error), node, cluster });
  }

  /** A client that does not read misses events: it may ask again for what it wants. */
  #tell(event: ControlEvent): void {
    if (this.#socket.writableLength < SLOW_BYTES) this.#send(event);
  }

  #send(message: ControlReply | ControlEvent): void {
    if (this.#socket.destroyed) return;
    if (this.#socket.writableLength > LOST_BYTES) this.#socket.destroy();
    else this.#socket.write(`${JSON.stringify(message)}\n`);
  }
}
