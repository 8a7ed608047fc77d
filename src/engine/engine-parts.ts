import type { BitmapPath } from "./bitmap-path.ts";
import type { CopyPath } from "./copy-path.ts";
import type { EngineCore } from "./engine-core.ts";
import type { ArrayExport, SeatAnswer, WorkerToEngine } from "./engine-protocol.ts";
import type { FailurePath } from "./failure-path.ts";
import type { RewritePath } from "./rewrite-path.ts";
import type { WritePath } from "./write-path.ts";

/** What commands of the control plane act on. */
export interface EngineParts {
  readonly core: EngineCore;
  readonly bitmap: BitmapPath;
  readonly failures: FailurePath;
  readonly writes: WritePath;
  readonly copies: CopyPath;
  readonly rewrites: RewritePath;
  readonly post: (message: WorkerToEngine) => void;
  /** Returns the port. */
  readonly attach: (wanted: ArrayExport) => number;
  /** Called until it says true. */
  readonly detach: (forGood: boolean) => boolean;
  readonly seat: () => SeatAnswer;
  /** The loop is over. */
  readonly end: () => void;
}
