import type { BlockDevice } from "../blockdev/block-device.ts";
import type { IoRing } from "../blockdev/io-ring.ts";
import type { LockMaster } from "../dlm/lock-master.ts";
import type { LeaseSink, Lockspace } from "../dlm/lockspace.ts";
import type { Engine } from "../engine/engine.ts";

/**
 * Put between the parts of a simulated node. What a promise rests on can be taken away so, without a word in the code
 * under test, to see whether a checker notices.
 */
export interface Wrappers {
  readonly ring?: (ring: IoRing) => IoRing;
  readonly engine?: (engine: Engine) => Engine;
  readonly lease?: (sink: LeaseSink) => LeaseSink;
  readonly lockspace?: (lockspace: Lockspace) => Lockspace;
  /** Beneath what the checkers hear of a lockspace: a lock service that does not keep its word. */
  readonly lockService?: (lockspace: Lockspace) => Lockspace;
  readonly device?: (device: BlockDevice) => BlockDevice;
  readonly link?: (link: LockMaster) => LockMaster;
}
