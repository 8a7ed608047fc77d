import { MdError } from "../base/md-error.ts";
import { readConfigFiles } from "../daemon/config-files.ts";
import type { ControlMethod, ControlMethods, Note } from "../daemon/control-api.ts";
import { type Answer, DEFAULT_SOCKET, type RequestOptions } from "../daemon/control-client.ts";
import { parseDuration } from "../daemon/parse-duration.ts";
import type { CommandContext } from "./command.ts";
import { envelope } from "./envelope.ts";
import type { Invocation } from "./invocation.ts";
import { safeText } from "./render/safe-text.ts";
import type { Connection, World } from "./world.ts";

/** Control operations are given up after this; waiting never is. */
const DEFAULT_TIMEOUT_MS = 30_000;
/** A question on a piped standard input is answered at once or not at all. */
const PIPED_ANSWER_MS = 2000;
/** Redrawn at most this often. */
const REDRAW_MS = 250;

const endless: ReadonlySet<ControlMethod> = new Set<ControlMethod>([
  "wait",
  "watch",
  "events",
  "trace",
  "nodeEvict",
  "nodeDrain",
]);

/** What a command sees of the world, and what it leaves behind for the envelope. */
export class RunContext implements CommandContext {
  readonly cwd: string;
  readonly env: World["env"];
  readonly json: boolean;
  readonly timeoutMs: number | null;
  /** Who answered, for the envelope. */
  node: string;
  cluster: string | null = null;
  readonly warnings: Note[] = [];
  signal: "SIGINT" | "SIGTERM" | null = null;
  readonly #world: World;
  readonly #invocation: Invocation;
  #connection: Promise<Connection> | null = null;
  #interrupt: AbortController | null = null;
  #progress: { at: number; tenth: number } | null = null;

  constructor(world: World, invocation: Invocation) {
    const { env } = world;
    this.#world = world;
    this.#invocation = invocation;
    this.cwd = world.cwd;
    this.env = env;
    this.json = wantsJson(invocation, env);
    this.node = env["MDCTL_NODE"] ?? world.hostname.split(".")[0] ?? world.hostname;
    const timeout = invocation.value("timeout");
    this.timeoutMs = timeout === null ? null : parseDuration("timeout", timeout);
  }

  /** Option, environment, configuration file, default. E_VALUE, E_PERMISSION: a configuration that cannot be read. */
  get socketPath(): string {
    const given = this.#invocation.value("socket") ?? this.env["MDCTL_SOCKET"];
    if (given !== undefined && given !== "") return given;
    const { settings } = readConfigFiles(this.#invocation.value("config") ?? this.env["MDCTL_CONFIG"] ?? null);
    return settings.get("socket")?.text ?? DEFAULT_SOCKET;
  }

  get interrupted(): AbortSignal {
    if (this.#interrupt === null) {
      const controller = new AbortController();
      this.#interrupt = controller;
      this.#world.onInterrupt((signal) => {
        this.signal ??= signal;
        controller.abort();
      });
    }
    return this.#interrupt.signal;
  }

  note(line: string): void {
    if (this.json || this.#invocation.has("quiet")) return;
    this.endProgress();
    this.#world.stderr(`mdctl: ${safeText(line)}\n`);
  }

  progress(line: string, permille: number): void {
    if (this.json || this.#invocation.has("quiet")) return;
    const now = this.#world.now();
    const tenth = Math.floor(permille / 100);
    const last = this.#progress;
    if (this.#world.stderrIsTerminal) {
      if (last !== null && now - last.at < REDRAW_MS) return;
      this.#world.stderr(`\r${safeText(line)}\x1b[K`);
    } else {
      if (last !== null && last.tenth === tenth) return;
      this.#world.stderr(`${safeText(line)}\n`);
    }
    this.#progress = { at: now, tenth };
  }

  endProgress(): void {
    if (this.#progress !== null && this.#world.stderrIsTerminal) this.#world.stderr("\n");
    this.#progress = null;
  }

  print(text: string): void {
    this.#world.stdout(text);
  }

  printDocument(command: string, data: unknown): void {
    const { node, cluster } = this;
    const now = this.#world.now();
    const document = envelope({ command, exitCode: 0, now, node, cluster, data, warnings: [], error: null });
    this.#world.stdout(`${JSON.stringify(document)}\n`);
  }

  async request<M extends ControlMethod>(
    method: M,
    params: ControlMethods[M]["params"],
    options: RequestOptions<M> = {},
  ): Promise<Answer<M>> {
    this.#connection ??= this.#world.connect(this.socketPath);
    const connection = await this.#connection;
    const limit = this.timeoutMs ?? (endless.has(method) ? null : DEFAULT_TIMEOUT_MS);
    const expired = limit === null ? null : AbortSignal.timeout(limit);
    const signals = [this.interrupted, options.signal, expired].filter((signal) => signal instanceof AbortSignal);
    const trace = this.#invocation.value("trace-id");
    try {
      const answer = await connection.request(method, params, {
        ...options,
        signal: AbortSignal.any(signals),
        ...(trace === null ? {} : { trace }),
      });
      this.node = answer.node;
      this.cluster = answer.cluster;
      this.warnings.push(...answer.warnings);
      for (const { message } of answer.warnings) this.note(message);
      return answer;
    } catch (error) {
      if (expired?.aborted) throw await this.#timedOut(connection, method, limit ?? 0);
      throw error;
    }
  }

  async ask(question: string): Promise<boolean | null> {
    const { stdinIsTerminal, stderrIsTerminal } = this.#world;
    if (this.#invocation.has("yes")) return true;
    if (this.#invocation.has("no-input") || this.env["MDCTL_NO_INPUT"]) return null;
    const atTerminal = stdinIsTerminal && stderrIsTerminal;
    // mdadm takes an answer from a pipe, and scripts rely on it.
    const piped = !stdinIsTerminal && this.#invocation.spelling === "option" && !this.json;
    if (!atTerminal && !piped) return null;
    this.#world.stderr(`${question} [y/N]? `);
    const answer = await this.#world.readLine(atTerminal ? null : PIPED_ANSWER_MS);
    const yes = /^\s*y(es)?\s*$/i.test(answer ?? "");
    if (!yes) this.#world.stderr("assuming no.\n");
    else if (piped) this.#world.stderr("\n");
    return yes;
  }

  async confirm(name: string, what: string, command: string): Promise<void> {
    const given = this.#invocation.value("confirm");
    const hint = `${command} --force --confirm=${name}`;
    if (given !== null && given !== name) {
      throw new MdError("E_CONFIRM", `${what}: --confirm names "${given}", not ${name}`, { hint });
    }
    if (given === name && this.#invocation.has("force")) return;
    const { stdinIsTerminal, stderrIsTerminal } = this.#world;
    const silent = this.#invocation.has("no-input") || Boolean(this.env["MDCTL_NO_INPUT"]);
    if (silent || !stdinIsTerminal || !stderrIsTerminal) {
      throw new MdError("E_CONFIRM", `${what} needs to be confirmed`, { hint });
    }
    this.#world.stderr(`${what}: type ${safeText(name)} to go on: `);
    if ((await this.#world.readLine(null))?.trim() === name) return;
    this.#world.stderr("assuming no.\n");
    throw new MdError("E_CONFIRM", `${what} was not confirmed; nothing was changed`);
  }

  async close(): Promise<void> {
    this.endProgress();
    (await this.#connection?.catch(() => null))?.close();
  }

  async #timedOut(connection: Connection, method: string, limitMs: number): Promise<MdError> {
    const running = await connection
      .request("opList", {}, { signal: AbortSignal.timeout(1000) })
      .then(({ data }) => data.operations.filter(({ state }) => state === "running"))
      .catch(() => []);
    const ids = running.map(({ id, command }) => `${id} (${command})`).join(", ");
    return new MdError("E_TIMEOUT", `gave up waiting for ${method} after ${limitMs / 1000} s`, {
      why: ids === "" ? "the daemon has not answered" : `still running: operation ${ids}`,
      hint: running[0] === undefined ? "mdctl status" : `mdctl op show ${running[0].id}`,
      details: { operations: running.map(({ id }) => id) },
    });
  }
}

export const wantsJson = (invocation: Invocation, env: World["env"]): boolean =>
  invocation.has("json") || env["MDCTL_FORMAT"] === "json";
