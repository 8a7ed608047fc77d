import type { DlmSlot, HeldLock, LockEvent, MemberRecord, MemberState } from "./lock-call.ts";
import type { ProcessIdentity } from "./process-identity.ts";

/** What a lock server keeps of one member. */
export interface TableMember {
  readonly slot: DlmSlot;
  readonly node: string;
  readonly incarnation: string;
  readonly process: ProcessIdentity | undefined;
  state: MemberState;
  /** While it is being fenced. */
  fence: MemberRecord["fence"];
  counter: number;
  /** See MemberRecord.knows. */
  knows: number;
  lastRid: number;
  /** Answers for repeated calls, by rid modulo the size of the ring. */
  readonly ring: Map<number, { readonly rid: number; readonly rc: number; readonly value: number }>;
  /** Number of the last event, and of the last that was acknowledged. */
  sent: number;
  acked: number;
  events: LockEvent[];
  /** What it has reported for the recovery that is under way. */
  report: Report | null;
}

export interface Report {
  readonly members: readonly MemberRecord[];
  readonly locks: readonly HeldLock[];
}

/** With more events than this unread they are dropped, all of them: the member must report its locks anew. */
const MAILBOX_LIMIT = 10_000;

export type EventBody = LockEvent extends infer E ? (E extends LockEvent ? Omit<E, "n" | "seq"> : never) : never;

type About = Pick<TableMember, "slot" | "node" | "incarnation"> & { readonly process?: ProcessIdentity | undefined };

export const newMember = (about: About, state: MemberState, counter: number, knows: number): TableMember => ({
  slot: about.slot,
  node: about.node,
  incarnation: about.incarnation,
  process: about.process,
  state,
  fence: undefined,
  counter,
  knows,
  lastRid: 0,
  ring: new Map(),
  sent: 0,
  acked: 0,
  events: [],
  report: null,
});

/** Is every event still there that was not acknowledged? */
export const isWhole = ({ events, sent, acked }: TableMember): boolean => events.length === sent - acked;

/** Puts an event into the mailbox. */
export function post(member: TableMember, seq: number, body: EventBody): void {
  const whole = isWhole(member);
  member.sent += 1;
  if (!whole) return;
  if (member.events.length >= MAILBOX_LIMIT) member.events = [];
  else member.events.push({ n: member.sent, seq, ...body });
}

/** Forgets what the member has acknowledged. */
export function trim(member: TableMember, ack: number): void {
  if (ack <= member.acked) return;
  member.acked = ack;
  member.events = member.events.filter(({ n }) => n > ack);
}
