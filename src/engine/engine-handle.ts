import { MessageChannel, type MessagePort, Worker } from "node:worker_threads";
import { MdError } from "../base/md-error.ts";
import type { WakeHandle } from "../blockdev/io-ring.ts";
import { wakeRing } from "../blockdev/wake-ring.ts";
import type { AnswerOf, Engine } from "./engine.ts";
import type { EngineCommand, EngineConfig, EngineNotice } from "./engine-protocol.ts";
import { errorOf } from "./error-of.ts";
import { PendingAnswers } from "./pending-answers.ts";
import { SharedBlock } from "./shared-block.ts";
import { CONTROL_BYTES, ControlWord, type WorkerInput, type WorkerMessage } from "./worker-protocol.ts";

/** An engine in a worker thread. */
export interface EngineHandle extends Engine {
  /** Stops the loop where it is: nothing is drained, no answer comes. For a process that is about to end. */
  abandon(): void;
}

/**
 * Starts the data plane of an array in a worker thread of its own. Rejects with the MdError of a member or a ring that
 * cannot be opened. A worker that dies says so with a `fatal` notice: the process cannot go on without it.
 */
export async function startEngine(config: EngineConfig, shared = new SharedBlock()): Promise<EngineHandle> {
  const { port1, port2 } = new MessageChannel();
  const control = new SharedArrayBuffer(CONTROL_BYTES);
  const worker = startWorker({ config, shared: shared.memory, control, port: port2 });
  const ready = await new Promise<WorkerMessage>((resolve, reject) => {
    port1.once("message", resolve);
    worker.once("error", (error) =>
      reject(new MdError("E_INTERNAL", "the data plane did not start", { cause: error, why: String(error) })),
    );
  });
  if (ready.type === "ready") return new WorkerEngine(worker, port1, shared, control, ready.wakeHandle);
  port1.close();
  if (ready.type !== "failed") throw new MdError("E_INTERNAL", `the data plane began with ${ready.type}`);
  throw errorOf(ready.code, ready.message, ready.why === null ? {} : { why: ready.why });
}

/** From source a worker cannot load TypeScript by itself: a line of JavaScript teaches it. */
function startWorker(input: WorkerInput): Worker {
  const fromSource = import.meta.url.endsWith(".ts");
  const entry = new URL(fromSource ? "./engine-worker.ts" : "./engine-worker.js", import.meta.url);
  const transferList = [input.port];
  // Descriptors are opened by the ring, behind Node's back.
  const options = { transferList, trackUnmanagedFds: false };
  if (!fromSource) return new Worker(entry, { ...options, workerData: input });
  const code = `
    const { workerData } = require("node:worker_threads");
    require("node:module").register("tsx/esm", workerData.entry, { data: {} });
    import(workerData.entry);
  `;
  return new Worker(code, { ...options, eval: true, workerData: { ...input, entry: entry.href } });
}

class WorkerEngine implements EngineHandle {
  readonly shared: SharedBlock;
  readonly #port: MessagePort;
  readonly #words: Int32Array;
  readonly #wakeHandle: WakeHandle;
  readonly #answers = new PendingAnswers();
  readonly #onProcessExit = (): void => this.abandon();
  #stopId = -1;
  #open = true;

  constructor(worker: Worker, port: MessagePort, shared: SharedBlock, control: SharedArrayBuffer, wake: WakeHandle) {
    this.shared = shared;
    this.#port = port;
    this.#words = new Int32Array(control);
    this.#wakeHandle = wake;
    port.on("message", (message: WorkerMessage) => this.#receive(message));
    worker.once("error", (error) => this.#die(String(error instanceof Error ? error.stack : error)));
    worker.once("exit", () => this.#die("its thread has ended"));
    // A thread that waits in the ring would keep the process from ending.
    process.once("exit", this.#onProcessExit);
  }

  send<C extends EngineCommand>(command: C): Promise<AnswerOf<C["type"]>> {
    const { id, answer } = this.#answers.expect();
    if (this.#open) {
      if (command.type === "stop") this.#stopId = id;
      this.#port.postMessage({ id, command });
      Atomics.add(this.#words, ControlWord.posted, 1);
      wakeRing(this.#wakeHandle);
    }
    return answer as Promise<AnswerOf<C["type"]>>;
  }

  onNotice(listener: (notice: EngineNotice) => void): void {
    this.#answers.onNotice(listener);
  }

  abandon(): void {
    if (!this.#open) return;
    Atomics.store(this.#words, ControlWord.abandoned, 1);
    wakeRing(this.#wakeHandle);
    this.#close(new MdError("E_CANCELLED", "the data plane was given up"));
  }

  #receive(message: WorkerMessage): void {
    // What was on its way when the engine was given up has no one waiting for it.
    if (!this.#open || message.type === "ready" || message.type === "failed") return;
    this.#answers.receive(message);
    if (message.type === "done" && message.id === this.#stopId) {
      this.#close(new MdError("E_ARRAY_NOT_ACTIVE", "the data plane has stopped"));
    }
  }

  #die(why: string): void {
    if (!this.#open) return;
    const message = `the data plane has died: ${why}`;
    this.#close(new MdError("E_INTERNAL", message));
    this.#answers.notify({ type: "fatal", message });
  }

  #close(error: MdError): void {
    this.#open = false;
    process.removeListener("exit", this.#onProcessExit);
    Atomics.store(this.#words, ControlWord.released, 1);
    Atomics.notify(this.#words, ControlWord.released);
    this.#answers.fail(error);
    this.#port.close();
  }
}
