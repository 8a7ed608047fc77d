import { Redis } from "ioredis";
import type { MdError } from "../../base/md-error.ts";
import { sleep } from "../../env/clock.ts";
import type { Env } from "../../env/env.ts";
import type { Subscription } from "../lock-master.ts";
import { AnswerWatch } from "./answer-watch.ts";
import { type Endpoint, guardedConnector } from "./guarded-connector.ts";
import type { PackedCommand } from "./packed-command.ts";
import { leadsElsewhere, serverFault } from "./redis-faults.ts";
import { connectionOptions } from "./redis-options.ts";
import { readInfo, whyUnfit } from "./server-check.ts";

/** How long after the end of a connection the next one is tried. */
const RETRY_MS = 200;

/** Where a connection goes and how it is let in. */
export interface LinkTarget extends Endpoint {
  readonly username: string | null;
  readonly password: string | null;
  readonly db: number;
}

/** A link that listens: it sends nothing but PING. */
export interface LinkSubscription {
  readonly channel: string;
  readonly hear: (message: Buffer) => void;
}

export interface LinkOptions {
  /** For people: what this is a connection to. */
  readonly about: string;
  /** As CLIENT LIST shows it. */
  readonly name: string;
  readonly env: Env;
  /** A command without its answer for this long has failed, and the connection with it. */
  readonly commandMs: number;
  readonly subscription?: LinkSubscription;
  readonly cluster: boolean;
  /** Asked before every connection: a master moves. */
  readonly locate: () => Promise<LinkTarget>;
}

interface Connection {
  readonly ended: Promise<void>;
}

/**
 * One connection to one server, made again whenever it ends; each time it is asked first whether it may keep locks. A
 * command is sent now or refused now; what is in flight when the connection ends is rejected then. Nothing is repeated.
 */
export class RedisLink {
  readonly #options: LinkOptions;
  readonly #closed = new AbortController();
  readonly #listeners = new Set<(up: boolean) => void>();
  #client: Redis | null = null;
  /** Of the commands of this client. */
  #watch: AnswerWatch | null = null;
  #trouble: MdError;

  constructor(options: LinkOptions) {
    this.#options = options;
    this.#trouble = serverFault(options.about, new Error("not connected yet"));
  }

  /** The first connection is made, or the reason is thrown and the link is closed. */
  async open(): Promise<void> {
    const connection = await this.#connect();
    if (connection === null) {
      this.close();
      throw this.#trouble;
    }
    void this.#keep(connection);
  }

  /** Opened whatever comes of it. Resolves when it has been tried once. */
  async start(): Promise<void> {
    const connection = await this.#connect();
    void this.#keep(connection);
  }

  onUp(listener: (up: boolean) => void): Subscription {
    this.#listeners.add(listener);
    return { stop: () => this.#listeners.delete(listener) };
  }

  /** Rejects with an MdError: why there is no answer. The command may have been executed, or may still be. */
  async send(command: string, ...args: readonly (string | number)[]): Promise<unknown> {
    const client = this.#client;
    const watch = this.#watch;
    if (client === null || watch === null) throw this.#trouble;
    watch.asked();
    try {
      return await client.call(command, ...args);
    } catch (error) {
      throw this.#reasonOf(client, error);
    } finally {
      watch.answered();
    }
  }

  /** The same, with as little as possible between the bytes that are sent and those that come back. */
  sendPacked(command: PackedCommand): Promise<unknown> {
    const client = this.#client;
    const watch = this.#watch;
    if (client === null || watch === null) return Promise.reject(this.#trouble);
    watch.asked();
    client.sendCommand(command);
    return command.promise.then(
      (answer: unknown) => {
        watch.answered();
        return answer;
      },
      (error: unknown) => {
        watch.answered();
        throw this.#reasonOf(client, error);
      },
    );
  }

  /** Why a command has failed. Of a connection that has ended the reason is known. */
  #reasonOf(client: Redis, error: unknown): MdError {
    if (this.#client !== client) return this.#trouble;
    const fault = serverFault(this.#options.about, error);
    if (leadsElsewhere(error)) this.#drop(client, fault);
    return fault;
  }

  /** Ends the connection: what comes over it cannot be trusted, or it leads to the wrong server. */
  drop(reason: MdError): void {
    if (this.#client !== null) this.#drop(this.#client, reason);
  }

  close(): void {
    this.#listeners.clear();
    this.#closed.abort();
    this.#watch?.stop();
    this.#client?.disconnect();
  }

  async #keep(first: Connection | null): Promise<void> {
    const { env } = this.#options;
    let connection = first;
    while (!this.#closed.signal.aborted) {
      connection ??= await this.#connect();
      await connection?.ended;
      connection = null;
      await sleep(env.clock, RETRY_MS, this.#closed.signal);
    }
  }

  /** Null: there is none, see #trouble. */
  async #connect(): Promise<Connection | null> {
    const { locate, about, env } = this.#options;
    let client: Redis | null = null;
    let lastError: unknown = null;
    let ended: Promise<void>;
    try {
      const target = await locate();
      if (this.#closed.signal.aborted) return null;
      client = this.#clientFor(target);
      client.on("error", (error: unknown) => {
        lastError = error;
      });
      ended = new Promise((resolve) => client?.once("end", () => resolve()));
      await client.connect();
      await this.#judge(client);
      // Without it a server short of memory may cut us off; where it is forbidden or unknown, so be it.
      client.call("CLIENT", "NO-EVICT", "ON").catch(() => {});
      await this.#subscribe(client);
    } catch (error) {
      client?.disconnect();
      this.#failed(serverFault(about, lastError ?? error));
      return null;
    }
    if (this.#closed.signal.aborted || client.status !== "ready") {
      client.disconnect();
      return null;
    }
    env.log.debug({ evt: "dlm.connected", to: about, as: this.#options.name }, `connected to ${about}`);
    this.#client = client;
    const { commandMs } = this.#options;
    // From here on one timer watches over all commands, instead of one each.
    delete client.options.commandTimeout;
    this.#watch = new AnswerWatch(env.clock, commandMs, () => this.drop(serverFault(about, new Error("timed out"))));
    for (const listener of [...this.#listeners]) listener(true);
    const told = ended.then(() => {
      if (this.#client === client) this.#lost(serverFault(about, lastError ?? new Error("")));
    });
    return { ended: told };
  }

  async #subscribe(client: Redis): Promise<void> {
    const { subscription } = this.#options;
    if (subscription === undefined) return;
    client.on("messageBuffer", (_: Buffer, message: Buffer) => subscription.hear(message));
    await client.subscribe(subscription.channel);
  }

  #clientFor(target: LinkTarget): Redis {
    const { name, commandMs, subscription } = this.#options;
    const { username, password, db, tls } = target;
    return new Redis({
      ...connectionOptions(name, commandMs, guardedConnector(target, subscription !== undefined)),
      db,
      // The socket is made by the connector; this tells which event says that it is ready.
      ...(tls === null ? {} : { tls: {} }),
      ...(username === null ? {} : { username }),
      ...(password === null ? {} : { password }),
    });
  }

  /** Only a server that loses nothing by itself may keep locks. */
  async #judge(client: Redis): Promise<void> {
    const { about, cluster } = this.#options;
    const facts = readInfo(String(await client.call("INFO")));
    if (facts.loading) throw serverFault(about, new Error("LOADING"));
    const unfit = whyUnfit(facts, about, cluster);
    if (unfit !== null) throw unfit;
  }

  #drop(client: Redis, reason: MdError): void {
    if (this.#client === client) this.#lost(reason);
    client.disconnect();
  }

  #lost(reason: MdError): void {
    this.#client = null;
    this.#watch?.stop();
    this.#watch = null;
    this.#failed(reason);
    for (const listener of [...this.#listeners]) listener(false);
  }

  #failed(reason: MdError): void {
    const changed = reason.message !== this.#trouble.message || reason.why !== this.#trouble.why;
    this.#trouble = reason;
    if (!changed || this.#closed.signal.aborted) return;
    const { env, name } = this.#options;
    const why = reason.why === null ? "" : `: ${reason.why}`;
    env.log.warn({ evt: "dlm.unreachable", code: reason.code, as: name }, `${reason.message}${why}`);
  }
}
