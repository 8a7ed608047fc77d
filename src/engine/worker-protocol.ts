import type { MessagePort } from "node:worker_threads";
import type { WakeHandle } from "../blockdev/io-ring.ts";
import type { EngineConfig, WorkerToEngine } from "./engine-protocol.ts";

/** What a worker is born with. */
export interface WorkerInput {
  readonly config: EngineConfig;
  /** Of the SharedBlock. */
  readonly shared: SharedArrayBuffer;
  /** Words of `ControlWord`. */
  readonly control: SharedArrayBuffer;
  /** EngineToWorker comes in; WorkerMessage goes out. */
  readonly port: MessagePort;
}

/** Int32 words that both threads see. */
export const ControlWord = {
  /** Commands that were ever posted: the worker looks at its port only when this has moved. */
  posted: 0,
  /** 1: the main thread will not wake the ring any more, so it may be closed. */
  released: 1,
  /** 1: leave at once, as you are. */
  abandoned: 2,
} as const;

export const CONTROL_BYTES = 12;

export type WorkerMessage =
  | { readonly type: "ready"; readonly wakeHandle: WakeHandle }
  /** The members or the ring could not be opened. */
  | { readonly type: "failed"; readonly code: string; readonly message: string; readonly why: string | null }
  | WorkerToEngine;
