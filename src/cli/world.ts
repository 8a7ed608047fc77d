import type { ControlMethod, ControlMethods } from "../daemon/control-api.ts";
import type { Answer, RequestOptions } from "../daemon/control-client.ts";

/** A connection to a daemon, as far as commands use one. */
export interface Connection {
  request<M extends ControlMethod>(
    method: M,
    params: ControlMethods[M]["params"],
    options?: RequestOptions<M>,
  ): Promise<Answer<M>>;
  close(): void;
}

/** What a command line program has around it: the real process, or what a test makes of it. */
export interface World {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  readonly hostname: string;
  readonly stdinIsTerminal: boolean;
  readonly stderrIsTerminal: boolean;
  stdout(text: string): void;
  stderr(text: string): void;
  /** One line of standard input; null at its end, or when nothing came within `waitMs` (null: however long it takes). */
  readLine(waitMs: number | null): Promise<string | null>;
  connect(socketPath: string): Promise<Connection>;
  /** Epoch milliseconds. */
  now(): number;
  /** Calls `listener` on SIGINT and SIGTERM from the first call on; before it they end the process as usual. */
  onInterrupt(listener: (signal: "SIGINT" | "SIGTERM") => void): void;
}
