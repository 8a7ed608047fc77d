import type { ControlMethod, ControlMethods } from "../control-api.ts";
import type { Daemon } from "../daemon.ts";
import type { ParamsReader } from "../params-reader.ts";

/** One request under way. */
export interface Call<M extends ControlMethod> {
  readonly daemon: Daemon;
  /** Tells the client something before the answer. */
  emit(event: ControlMethods[M]["event"]): void;
  /** A note that comes with the answer. */
  warn(code: string, message: string, hint?: string): void;
  /** Aborts when the client is gone. What has begun to change something goes on. */
  readonly signal: AbortSignal;
}

export interface Method<M extends ControlMethod> {
  /** It takes locks: refused at once (E_LOCK_SERVICE_LOST) while none are granted, rather than left waiting. */
  readonly takesLocks?: true;
  /** Believes nothing: E_VALUE. */
  read(reader: ParamsReader): ControlMethods[M]["params"];
  run(params: ControlMethods[M]["params"], call: Call<M>): Promise<ControlMethods[M]["data"]>;
}

export const noParams = (): Record<string, never> => ({});
