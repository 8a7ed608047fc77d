import type { WatchdogOptions } from "../fencing/watchdog.ts";
import type { GuardLimits } from "./guard-duty.ts";

/** What the guard's thread is born with. */
export interface GuardInput {
  /** One Int32 word that the main thread counts up. */
  readonly beats: SharedArrayBuffer;
  /** Milliseconds between two looks. */
  readonly everyMs: number;
  readonly limits: GuardLimits;
  readonly watchdog: WatchdogOptions | null;
}

export type GuardMessage =
  | { readonly type: "watch"; readonly id: number; readonly shared: SharedArrayBuffer }
  | { readonly type: "forget"; readonly id: number }
  /** The orderly end: the watchdog is disarmed. */
  | { readonly type: "stop" };

export type GuardReply = { readonly type: "ready" } | { readonly type: "stopped" };
