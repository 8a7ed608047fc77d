import type { DlmSlot, LockEvent } from "./lock-call.ts";
import type { ProcessIdentity } from "./process-identity.ts";

/** What a lock server keeps of one member. */
export interface TableMember {
  readonly slot: DlmSlot;
  readonly node: string;
  readonly incarnation: string;
  readonly process: ProcessIdentity | undefined;
  counter: number;
  lastRid: number;
  /** Answers for repeated calls, by rid modulo the size of the ring. */
  readonly ring: Map<number, { readonly rid: number; readonly rc: number; readonly value: number }>;
  /** Number of the last event, and of the last that was acknowledged. */
  sent: number;
  acked: number;
  events: LockEvent[];
}
