import type { ProcessIdentity } from "./process-identity.ts";

/** Slots are 1-based on this side of the DLM, as in Linux; 0 is "not a member". */
export type DlmSlot = number;

/** Numeric mode: NL=0 .. EX=5; -1 is none. */
export type ModeNumber = number;

/** Which lockspace: both parts are made of letters, digits, dot, underscore and dash. */
export interface LockspaceId {
  readonly cluster: string;
  readonly name: string;
}

/**
 * What every call of a member carries. `rid` counts the calls of this incarnation from 1: a repeated call is answered
 * from the reply ring and not executed again; 0 marks a call that is idempotent by itself. `ack` is the number of the
 * last event that was delivered: the server forgets events up to it. `seen` is the highest `seq` ever seen: a server
 * that stands below it has lost part of its state.
 */
export interface CallHeader {
  readonly slot: DlmSlot;
  readonly incarnation: string;
  readonly epoch: number;
  readonly rid: number;
  readonly ack: number;
  readonly seen: number;
}

/** A member as somebody last saw it. Evicting compares both: a node that has renewed since is not evicted. */
export interface MemberSighting {
  readonly slot: DlmSlot;
  readonly incarnation: string;
  readonly counter: number;
}

export interface HelloCall {
  readonly op: "hello";
}

/** Creates the lockspace, or replaces one that belongs to another life of the server. `epoch` is the highest known. */
export interface FormatCall {
  readonly op: "format";
  /** Random; tells this lockspace from any other of the same name. */
  readonly lsid: string;
  readonly epoch: number;
  /** EIDENT: the lockspace that is to be replaced; a newer one is not. */
  readonly replaces?: string;
}

/** Takes the lowest free slot. Repeating it with the same incarnation gives the same slot. */
export interface JoinCall {
  readonly op: "join";
  readonly node: string;
  readonly incarnation: string;
  readonly slots: number;
  readonly leaseMs: number;
  readonly lvbSize: number;
  readonly process?: ProcessIdentity;
  /** Members that surely are dead: evicted first. */
  readonly gone: readonly MemberSighting[];
}

export interface RenewCall extends CallHeader {
  readonly op: "renew";
  /** Must increase. */
  readonly counter: number;
}

export interface LockRequestCall extends CallHeader {
  readonly op: "lock";
  readonly name: string;
  readonly mode: ModeNumber;
  readonly flags: number;
  /** Wants blocking notifications. */
  readonly bast: boolean;
  /** The caller's value block buffer; needed with VALBLK. Opaque text (base64) to the server. */
  readonly lvb?: string;
}

export interface ConvertCall extends CallHeader {
  readonly op: "convert";
  readonly name: string;
  readonly lkid: number;
  readonly mode: ModeNumber;
  readonly flags: number;
  readonly lvb?: string;
}

/** Plain unlock, CANCEL or FORCEUNLOCK. */
export interface UnlockCall extends CallHeader {
  readonly op: "unlock";
  readonly name: string;
  readonly lkid: number;
  readonly flags: number;
  readonly lvb?: string;
}

/** Nothing but the header: acknowledges events and fetches new ones. */
export interface PollCall extends CallHeader {
  readonly op: "poll";
}

export interface EvictCall extends CallHeader {
  readonly op: "evict";
  readonly victim: MemberSighting;
}

export interface LeaveCall extends CallHeader {
  readonly op: "leave";
}

/** The whole lockspace as a value. Needs no membership. */
export interface DumpCall {
  readonly op: "dump";
}

export type MemberCall = RenewCall | LockRequestCall | ConvertCall | UnlockCall | PollCall | EvictCall | LeaveCall;
export type LockCall = HelloCall | FormatCall | JoinCall | DumpCall | MemberCall;

export interface MemberRecord extends MemberSighting {
  readonly node: string;
  readonly process?: ProcessIdentity;
}

/** Numbered without gaps per member; delivered in this order. `seq` is the fencing token: it grows with every change. */
export type LockEvent = { readonly n: number; readonly seq: number } & (
  | {
      /** Completion (AST) of a lock, convert, unlock or cancel. */
      readonly type: "cast";
      readonly lkid: number;
      readonly status: number;
      /** Granted now. */
      readonly mode: ModeNumber;
      /** Status flags: DEMOTED, VALNOTVALID, ALTMODE. */
      readonly flags: number;
      readonly lvbSeq: number;
      /** Only if a value was read. */
      readonly lvb?: string;
    }
  | { readonly type: "bast"; readonly lkid: number; readonly mode: ModeNumber }
  | { readonly type: "prep" }
  | { readonly type: "failed"; readonly slot: DlmSlot; readonly node: string }
  | { readonly type: "joined"; readonly slot: DlmSlot; readonly node: string }
  | { readonly type: "left"; readonly slot: DlmSlot; readonly node: string }
  | {
      readonly type: "done";
      readonly generation: number;
      readonly members: readonly { readonly slot: DlmSlot; readonly node: string }[];
    }
);

/** One lock in a dump: `queue` is g, c or w; the list is in queue order. */
export interface LockRecord {
  readonly lkid: number;
  readonly slot: DlmSlot;
  readonly queue: "g" | "c" | "w";
  readonly gr: ModeNumber;
  readonly rq: ModeNumber;
  /** Flags of the last operation. */
  readonly ex: number;
  /** Status flags. */
  readonly sb: number;
  /** Highest mode announced by a bast since the last grant. */
  readonly hi: number;
  readonly bast: boolean;
  readonly lvbSeq: number;
}

export interface ResourceRecord {
  readonly name: string;
  readonly lvb?: string;
  readonly lvbSeq: number;
  readonly lvbInvalid: boolean;
  readonly locks: readonly LockRecord[];
}

/** What a server keeps for one member, in a dump. */
export interface MailboxRecord {
  readonly slot: DlmSlot;
  readonly lastRid: number;
  /** Number of the last event, and of the last one that the member has acknowledged. */
  readonly sent: number;
  readonly acked: number;
  readonly events: readonly LockEvent[];
  /** Kept answers, [rid, rc, value], sorted. */
  readonly ring: readonly (readonly [number, number, number])[];
}

export interface LockReply {
  /** 0 or a negative code of lock-status.ts. */
  readonly rc: number;
  /** lock: the new lock's id. join: the slot. Otherwise 0. */
  readonly value: number;
  readonly seq: number;
  readonly epoch: number;
  readonly generation: number;
  /** All events of the caller after `ack`. */
  readonly events: readonly LockEvent[];
  /** hello: of the lockspace there is. */
  readonly lsid?: string;
  /** hello, join, renew, dump. */
  readonly members?: readonly MemberRecord[];
  /** hello: of the members there are; 0 if there is none. */
  readonly leaseMs?: number;
  /**
   * hello, with ENOLS or EIDENT: the server cannot know whether it once held this lockspace. Whoever creates it anew
   * must first wait a full lease, so that no former member still writes.
   */
  readonly mayHaveForgotten?: boolean;
  /** Beside `mayHaveForgotten`: which life of the server says so. What another life said proves nothing of this one. */
  readonly server?: string;
  /** dump: sorted by name, by slot. */
  readonly resources?: readonly ResourceRecord[];
  readonly mailboxes?: readonly MailboxRecord[];
}
