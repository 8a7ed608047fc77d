import { Worker } from "node:worker_threads";
import { MdError } from "../base/md-error.ts";
import type { SharedBlock } from "../engine/shared-block.ts";
import type { Env } from "../env/env.ts";
import type { WatchdogOptions } from "../fencing/watchdog.ts";
import type { GuardInput, GuardMessage, GuardReply } from "./guard-protocol.ts";

export interface GuardOptions {
  readonly env: Env;
  readonly leaseMs: number;
  readonly watchdog: WatchdogOptions | null;
  readonly usesPill: boolean;
  /** It has ended by itself: nobody watches any more. */
  readonly onDeath: (why: string) => void;
}

/** By then others have taken over long ago; sooner a mere burst of work might end a process. */
const LEAST_STILL_MS = 10_000;

/**
 * A thread that watches the others: it ends the process when one of them hangs, and pets the watchdog as long
 * as nothing of this node can harm a member. Decision 12 says what that is good for.
 */
export class Guard {
  readonly #worker: Worker;
  readonly #beats = new Int32Array(new SharedArrayBuffer(4));
  readonly #options: GuardOptions;
  readonly #everyMs: number;
  readonly #replied: ((reply: GuardReply) => void)[] = [];
  #nextId = 1;
  #stopped = false;

  /** E_VALUE when the watchdog cannot be had. */
  static async start(options: GuardOptions): Promise<Guard> {
    const guard = new Guard(options);
    try {
      await guard.#reply("ready");
    } catch (error) {
      guard.#stopped = true;
      throw error;
    }
    return guard;
  }

  private constructor(options: GuardOptions) {
    const { leaseMs, watchdog, usesPill } = options;
    const watchdogMs = watchdog?.timeoutMs ?? null;
    this.#options = options;
    const stillMs = Math.max(2 * leaseMs, LEAST_STILL_MS);
    // Often enough for what it has to notice, and no oftener: each look wakes two threads.
    this.#everyMs = Math.min(stillMs, watchdogMs ?? stillMs) / 10;
    this.#worker = startWorker({
      beats: this.#beats.buffer as SharedArrayBuffer,
      everyMs: this.#everyMs,
      limits: { stillMs, watchdogMs, usesPill },
      watchdog,
    });
    this.#worker.on("message", (reply: GuardReply) => {
      for (const listener of this.#replied.splice(0)) listener(reply);
    });
    this.#worker.once("exit", () => {
      if (!this.#stopped) options.onDeath("the guard's thread has ended");
    });
    this.#worker.unref();
    this.#beat();
  }

  /** Until the returned function is called. */
  watch(shared: SharedBlock): () => void {
    const id = this.#nextId++;
    this.#send({ type: "watch", id, shared: shared.memory });
    return () => this.#send({ type: "forget", id });
  }

  /** When nothing is written any more: the watchdog is disarmed. */
  async stop(): Promise<void> {
    if (this.#stopped) return;
    this.#stopped = true;
    const stopped = this.#reply("stopped");
    this.#send({ type: "stop" });
    await stopped;
  }

  #beat(): void {
    if (this.#stopped) return;
    Atomics.add(this.#beats, 0, 1);
    this.#options.env.clock.after(this.#everyMs, () => this.#beat());
  }

  #send(message: GuardMessage): void {
    this.#worker.postMessage(message);
  }

  #reply(wanted: GuardReply["type"]): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#replied.push(({ type }) => (type === wanted ? resolve() : reject(new Error(`the guard says ${type}`))));
      this.#worker.once("error", (error) => {
        const why = error instanceof Error ? error.message : String(error);
        reject(new MdError("E_VALUE", why.replace(/^MdError: /, ""), { cause: error }));
      });
    });
  }
}

/** From source a worker cannot load TypeScript by itself: a line of JavaScript teaches it. */
function startWorker(input: GuardInput): Worker {
  const fromSource = import.meta.url.endsWith(".ts");
  const entry = new URL(fromSource ? "./guard-worker.ts" : "./guard-worker.js", import.meta.url);
  if (!fromSource) return new Worker(entry, { workerData: input });
  const code = `
    const { workerData } = require("node:worker_threads");
    require("node:module").register("tsx/esm", workerData.entry, { data: {} });
    import(workerData.entry);
  `;
  return new Worker(code, { eval: true, workerData: { ...input, entry: entry.href } });
}
