import { connect, type Socket } from "node:net";
import { MdError, type MdErrorCode, mdErrorCodes } from "../base/md-error.ts";
import {
  CONTROL_API_VERSION,
  type ControlEvent,
  type ControlMethod,
  type ControlMethods,
  type ControlReply,
  type ControlRequest,
  type ErrorInfo,
  type Note,
} from "./control-api.ts";

/** Where a daemon listens when nobody says otherwise. */
export const DEFAULT_SOCKET = "/run/mdctl/mdctld.sock";

export interface Answer<M extends ControlMethod> {
  readonly data: ControlMethods[M]["data"];
  readonly node: string;
  readonly cluster: string | null;
  readonly warnings: readonly Note[];
}

export interface RequestOptions<M extends ControlMethod> {
  readonly onEvent?: (event: ControlMethods[M]["event"]) => void;
  /** Stops waiting (E_CANCELLED). The daemon goes on with whatever it has begun. */
  readonly signal?: AbortSignal;
  readonly trace?: string;
}

interface Pending {
  readonly resolve: (answer: Answer<ControlMethod>) => void;
  readonly reject: (error: Error) => void;
  readonly onEvent: ((event: never) => void) | undefined;
}

/** One connection to a daemon; any number of requests at a time. */
export class ControlClient {
  readonly #socket: Socket;
  readonly #pending = new Map<number, Pending>();
  #nextId = 1;
  #rest = "";

  private constructor(socket: Socket, path: string) {
    this.#socket = socket;
    socket.setEncoding("utf8");
    socket.on("data", (text: string) => this.#receive(text));
    socket.on("error", () => {});
    socket.on("close", () => this.#closed(path));
  }

  /** Rejects with E_DAEMON when nobody listens at `path`, E_PERMISSION when we may not ask. */
  static open(path: string = DEFAULT_SOCKET): Promise<ControlClient> {
    return new Promise((resolve, reject) => {
      const socket = connect(path);
      const fail = (error: NodeJS.ErrnoException): void => reject(cannotConnect(path, error));
      socket.once("error", fail);
      socket.once("connect", () => {
        socket.off("error", fail);
        resolve(new ControlClient(socket, path));
      });
    });
  }

  /** Resolves with the answer; rejects with the daemon's MdError, or E_DAEMON when the connection breaks before it. */
  request<M extends ControlMethod>(
    method: M,
    params: ControlMethods[M]["params"],
    options: RequestOptions<M> = {},
  ): Promise<Answer<M>> {
    const id = this.#nextId++;
    const { signal, trace } = options;
    return new Promise<Answer<ControlMethod>>((resolve, reject) => {
      if (signal?.aborted) return reject(new MdError("E_CANCELLED", `${method} was cancelled`));
      if (this.#socket.destroyed) return reject(new MdError("E_DAEMON", "the connection to the daemon is closed"));
      const abort = (): void => {
        this.#pending.delete(id);
        reject(new MdError("E_CANCELLED", `${method} was cancelled`));
      };
      signal?.addEventListener("abort", abort, { once: true });
      const done = (): void => signal?.removeEventListener("abort", abort);
      this.#pending.set(id, {
        resolve(answer) {
          done();
          resolve(answer);
        },
        reject(error) {
          done();
          reject(error);
        },
        onEvent: options.onEvent as ((event: never) => void) | undefined,
      });
      const request: ControlRequest<M> = {
        v: CONTROL_API_VERSION,
        id,
        method,
        params,
        ...(trace === undefined ? {} : { trace }),
      };
      this.#socket.write(`${JSON.stringify(request)}\n`);
    }) as Promise<Answer<M>>;
  }

  close(): void {
    this.#socket.destroy();
  }

  #receive(text: string): void {
    const lines = (this.#rest + text).split("\n");
    this.#rest = lines.pop() ?? "";
    for (const line of lines) this.#line(JSON.parse(line) as ControlReply | ControlEvent);
  }

  #line(message: ControlReply | ControlEvent): void {
    const pending = message.id === null ? undefined : this.#pending.get(message.id);
    if (pending === undefined) {
      // A refusal of what could not be read: it can only be about what we sent last.
      if ("ok" in message && !message.ok)
        for (const { reject } of this.#pending.values()) reject(errorOf(message.error));
      return;
    }
    if ("event" in message) {
      pending.onEvent?.(message.event as never);
      return;
    }
    this.#pending.delete(message.id ?? 0);
    if (message.ok) pending.resolve(message);
    else pending.reject(errorOf(message.error));
  }

  #closed(path: string): void {
    const open = [...this.#pending.values()];
    this.#pending.clear();
    for (const { reject } of open) {
      reject(
        new MdError("E_DAEMON", `the daemon at ${path} ended the connection before it answered`, {
          hint: "mdctl op list",
        }),
      );
    }
  }
}

/** The error that a daemon told of, as if it had been thrown here. */
export function errorOf(info: ErrorInfo): MdError {
  const code: MdErrorCode = mdErrorCodes.includes(info.code) ? info.code : "E_INTERNAL";
  const why = info.causes[0]?.message;
  return new MdError(code, info.message, {
    details: info.details,
    ...(why === undefined ? {} : { why }),
    ...(info.hint === null ? {} : { hint: info.hint }),
  });
}

function cannotConnect(path: string, error: NodeJS.ErrnoException): MdError {
  if (error.code === "EACCES" || error.code === "EPERM") {
    return new MdError("E_PERMISSION", `not allowed to talk to the daemon at ${path}`, {
      why: error.message,
      hint: "run it as root",
    });
  }
  return new MdError("E_DAEMON", `no daemon answers at ${path}`, {
    why: error.code === "ENOENT" ? "the socket does not exist" : error.message,
    hint: path === DEFAULT_SOCKET ? "mdctl daemon" : `mdctl daemon --socket=${path}`,
  });
}
