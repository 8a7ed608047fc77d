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
  readonly link?: (link: LockMaster) => LockMaster;
}
