import type { ControlMethod, ControlMethods, Note } from "../daemon/control-api.ts";
import type { Answer, RequestOptions } from "../daemon/control-client.ts";
import type { Invocation } from "./invocation.ts";

/** What a command has to say. Exactly one of `text` and the envelope's `data` is printed. */
export interface CommandResult {
  readonly data: unknown;
  /** Standard output for people; with its newline, or empty. */
  readonly text: string;
  readonly exitCode?: number;
  readonly warnings?: readonly Note[];
  /** For `--plain` and `--export`, where a command has them. */
  readonly plain?: string;
  readonly exported?: string;
  /** Printed already, line by line: nothing is left for the end. */
  readonly streamed?: boolean;
}

/** The world of a command: streams, the daemon, questions. Tests give it another one. */
export interface CommandContext {
  readonly cwd: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Of the daemon. */
  readonly socketPath: string;
  readonly json: boolean;
  /** A line for people on standard error; nothing with `--quiet` or `--json`. */
  note(line: string): void;
  /** Progress: redrawn in place on a terminal, a line each otherwise. */
  progress(line: string, permille: number): void;
  endProgress(): void;
  /** Straight to standard output, for streams. */
  print(text: string): void;
  /** One line of a stream of documents. */
  printDocument(command: string, data: unknown): void;
  request<M extends ControlMethod>(
    method: M,
    params: ControlMethods[M]["params"],
    options?: RequestOptions<M>,
  ): Promise<Answer<M>>;
  /** Asks on standard error, default no. Null: nobody is there to answer. */
  ask(question: string): Promise<boolean | null>;
  /**
   * For what cannot be taken back: the name of the thing must be typed, or given with `--force --confirm=NAME`; `--yes`
   * is not enough. E_CONFIRM otherwise; `command` is what would have answered.
   */
  confirm(name: string, what: string, command: string): Promise<void>;
  /** Aborts on SIGINT and SIGTERM. */
  readonly interrupted: AbortSignal;
  /** Milliseconds; null: no `--timeout`. */
  readonly timeoutMs: number | null;
}

export type Command = (invocation: Invocation, context: CommandContext) => Promise<CommandResult>;
