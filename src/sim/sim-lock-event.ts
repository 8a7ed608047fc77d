import type { SectorRange } from "../base/units.ts";
import type { LockCall, LockEvent, LockReply } from "../dlm/lock-call.ts";
import type { LockMode } from "../dlm/lock-mode.ts";
import type { Grant } from "../dlm/lockspace.ts";
import type { ClusterMessage } from "../messages/message.ts";

/** One lock of one life, as its owner sees it. */
export interface OfLock {
  readonly life: string;
  /** Unique in the simulation. */
  readonly lock: number;
  readonly resource: string;
}

/** What owners of locks and members of lockspaces did and were told: what the checkers of the DLM see. */
export type SimLockEvent =
  /** `bast`: it wants to hear of those that it blocks. */
  | ({ readonly type: "lock_opened"; readonly bast: boolean } & OfLock)
  /** A conversion is asked for. `wrote`: the value that it publishes; `reads`: it gets the value there is. */
  | ({
      readonly type: "lock_asked";
      readonly from: LockMode;
      readonly to: LockMode;
      readonly wrote: string | null;
      readonly reads: boolean;
    } & OfLock)
  /** And has ended; those of one lock in the order asked for. `read`: empty for no value, null where nothing is read. */
  | ({
      readonly type: "lock_done";
      readonly status: Grant["status"] | "lost";
      readonly mode: LockMode;
      readonly read: string | null;
      readonly valid: boolean;
    } & OfLock)
  | ({ readonly type: "lock_bast"; readonly wanted: LockMode } & OfLock)
  | ({ readonly type: "lock_closed" } & OfLock)
  /** Its owner may act under what it holds until then (true time); 0: never again. */
  | { readonly type: "lease"; readonly life: string; readonly until: number }
  | { readonly type: "recover_prep"; readonly life: string }
  | { readonly type: "recover_slot"; readonly life: string; readonly slot: number; readonly node: string }
  | { readonly type: "recover_done"; readonly life: string; readonly generation: number }
  /** A call is sent to the lock server, perhaps not for the first time. */
  | { readonly type: "lock_call"; readonly life: string; readonly call: LockCall }
  /** An answer of the lock server has reached this life. */
  | { readonly type: "lock_answer"; readonly life: string; readonly call: LockCall; readonly reply: LockReply }
  /** Events that the lock server sent without being asked have reached it. */
  | {
      readonly type: "lock_events";
      readonly life: string;
      readonly epoch: number;
      readonly events: readonly LockEvent[];
    }
  /** It hears messages from now on; has processed one; all others have processed what it said. `number`: in this world. */
  | { readonly type: "listening"; readonly life: string }
  | { readonly type: "deaf"; readonly life: string }
  | { readonly type: "message_heard"; readonly life: string; readonly number: number }
  | {
      readonly type: "message_begun";
      readonly life: string;
      readonly number: number;
      readonly message: ClusterMessage;
    }
  /** It shows in its slot's value block what it copies: those that join read it there. */
  | { readonly type: "window_shown"; readonly life: string; readonly slot: number; readonly range: SectorRange | null }
  | { readonly type: "message_said"; readonly life: string; readonly number: number };
