import type { EngineAnswer, EngineCommand, EngineNotice } from "./engine-protocol.ts";
import type { SharedBlock } from "./shared-block.ts";

/** The answer that belongs to a command. */
export type AnswerOf<C extends EngineCommand["type"]> = C extends "scan"
  ? Extract<EngineAnswer, { type: "scanned" }>
  : C extends "copy"
    ? Extract<EngineAnswer, { type: "copied" }>
    : C extends "rewrite"
      ? Extract<EngineAnswer, { type: "rewritten" }>
      : C extends "compare"
        ? Extract<EngineAnswer, { type: "compared" }>
        : C extends "attach"
          ? Extract<EngineAnswer, { type: "attached" }>
          : C extends "querySeat"
            ? Extract<EngineAnswer, { type: "seat" }>
            : C extends "queryBitmap"
              ? Extract<EngineAnswer, { type: "bitmap" }>
              : C extends "holdWrites"
                ? Extract<EngineAnswer, { type: "held" }>
                : Extract<EngineAnswer, { type: "none" }>;

/**
 * The control plane's end of the seam: a worker behind it in a daemon, the loop itself in a simulation. Commands are
 * carried out in the order sent; each promise resolves with its answer, or rejects with an MdError.
 */
export interface Engine {
  send<C extends EngineCommand>(command: C): Promise<AnswerOf<C["type"]>>;
  onNotice(listener: (notice: EngineNotice) => void): void;
  readonly shared: SharedBlock;
}
