import type { DlmSlot, JoinCall, LockEvent } from "./lock-call.ts";
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

/** Above this many events unread they are dropped; the member finds a gap, and is not alive anyway. */
const MAILBOX_LIMIT = 10_000;

export type EventBody = LockEvent extends infer E ? (E extends LockEvent ? Omit<E, "n" | "seq"> : never) : never;

export const newMember = (slot: DlmSlot, { node, incarnation, process }: JoinCall): TableMember => ({
  slot,
  node,
  incarnation,
  process,
  counter: 0,
  lastRid: 0,
  ring: new Map(),
  sent: 0,
  acked: 0,
  events: [],
});

/** Puts an event into the mailbox. */
export function post(member: TableMember, seq: number, body: EventBody): void {
  member.sent += 1;
  if (member.events.length >= MAILBOX_LIMIT) member.events = [];
  member.events.push({ n: member.sent, seq, ...body });
}

/** Forgets what the member has acknowledged. */
export function trim(member: TableMember, ack: number): void {
  if (ack <= member.acked) return;
  member.acked = ack;
  member.events = member.events.filter(({ n }) => n > ack);
}
