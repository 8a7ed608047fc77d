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
  /** The configured fencing methods, in words ("lease only" if there is none); equal on all members, or EPROTO. */
  readonly fencing: string;
  /** No slot above it is taken: ERANGE. Members may differ in it; without it, as many as there are slots. */
  readonly limit?: number;
  readonly process?: ProcessIdentity;
  /** Members that surely are dead, also such as are being fenced: evicted first. */
  readonly gone: readonly MemberSighting[];
}

/**
 * While the lockspace is in state "recover", an answer extends a lease that still runs but must not revive one that has
 * ended: not everybody has reported yet, and a member that comes later may know that the caller was evicted.
 */
export interface RenewCall extends CallHeader {
  readonly op: "renew";
  /** Must increase. */
  readonly counter: number;
  /** Of the list of members that the caller would report if the lockspace were lost now. */
  readonly generation?: number;
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

/** One conversion of a batch: a convert call without header. */
export type BatchStep = Pick<ConvertCall, "name" | "lkid" | "mode" | "flags" | "lvb">;

/**
 * Conversions executed in order, up to and with the first that is not granted at once (queued, EAGAIN, EDEADLK or
 * refused); the state afterwards is that of the same calls one by one. Reply: `value` is the number of steps that were
 * accepted; `rc` is OK, or the refusal of the step after them. 1 to BATCH_LIMIT steps.
 */
export interface BatchCall extends CallHeader {
  readonly op: "batch";
  readonly steps: readonly BatchStep[];
}

export const BATCH_LIMIT = 32;

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

/**
 * Removes a dead member at once: no fencing method is configured and it did not renew for a whole lease ("lease"), the
 * end of its process is proved ("process"), or an operator vouches for it ("operator": the counter is not compared).
 * EALIVE: it has renewed. EBUSY: "lease" is not enough for a member that is being fenced. OK also if it is gone already.
 */
export interface EvictCall extends CallHeader {
  readonly op: "evict";
  readonly victim: MemberSighting;
  readonly evidence: "lease" | "process" | "operator";
}

/**
 * First phase of fencing: the victim, if it still stands where it was seen (else EALIVE), gets EFENCED for every call
 * from now on; its locks stay. Reply: `value` is the token that fence_result needs; the same again for its owner.
 * EBUSY: another active member fences it (`value`: its token). Whoever saw that token stand still for the agent's whole
 * timeout takes over with `takesOver`. ENOENT: it is no member any more. EINVAL: the caller itself.
 */
export interface FenceBeginCall extends CallHeader {
  readonly op: "fence_begin";
  readonly victim: MemberSighting;
  readonly takesOver?: number;
}

/**
 * Second phase. `ok`: the victim surely writes nothing any more; it is removed with its locks. Otherwise they stay, and
 * the try is counted. ESTALE: somebody else fences it by now. OK also if it is gone already.
 */
export interface FenceResultCall extends CallHeader {
  readonly op: "fence_result";
  /** `slot` and `incarnation` beside it are the caller's. */
  readonly victim: Pick<MemberSighting, "slot" | "incarnation">;
  readonly token: number;
  readonly ok: boolean;
  /** What proves it, in words. */
  readonly evidence: string;
}

export interface LeaveCall extends CallHeader {
  readonly op: "leave";
}

/** Equal on all members of a lockspace. */
export interface LockspaceSettings {
  readonly slots: number;
  readonly leaseMs: number;
  readonly lvbSize: number;
  readonly fencing: string;
}

/** A lock as its owner knows it. What it has not been told of was not granted. */
export interface HeldLock {
  readonly lkid: number;
  readonly name: string;
  /** g: gr is held, rq is -1. c: gr is held, rq is waited for. w: gr is -1, rq is waited for. */
  readonly queue: "g" | "c" | "w";
  readonly gr: ModeNumber;
  readonly rq: ModeNumber;
  /** Flags of the last operation. */
  readonly ex: number;
  readonly bast: boolean;
  /** `seq` of the reply or event that granted or queued it: the order of the queue. */
  readonly order: number;
  /** The last value read, or acknowledged as written; not the buffer that is not published yet. */
  readonly lvb?: string;
  readonly lvbSeq: number;
}

/**
 * A member that has seen ENOLS, EIDENT, EEPOCH or ELOST reports what it knows; the lock table is rebuilt from these
 * reports when all have come ("re-mastering"). Idempotent; repeated until the reply says state "run". While the reply
 * says "recover" the caller is checked in: it may renew and poll in the new epoch (`reply.epoch`), its events count from
 * 1, its request ids go on after `lastRid`. State "run" in the caller's own epoch: nothing was lost, go on as before.
 * EFENCED: not on the list of members that counts. ECONFLICT: two hold what cannot be held together (`conflicts`);
 * nothing is granted until one of them is evicted. EPROTO: other settings. EIDENT: `server` is not who answers.
 */
export interface RecoverCall {
  readonly op: "recover";
  readonly slot: DlmSlot;
  readonly incarnation: string;
  readonly node: string;
  readonly process?: ProcessIdentity;
  readonly lsid: string;
  /** The caller's epoch, and the highest `seq` and lock id that it has seen. */
  readonly epoch: number;
  readonly seen: number;
  readonly lkid: number;
  /** `reply.server` of the refusal that led here, or of a hello: a call that arrives late, at another life of it, is refused. */
  readonly server?: string;
  readonly settings: LockspaceSettings;
  /** The last list of members that the caller got, and its generation. The highest generation of all reports counts. */
  readonly generation: number;
  readonly members: readonly MemberRecord[];
  /** The last call of the caller that it has an answer for. */
  readonly lastRid: number;
  /** Of its last renewal. A report with an older one than is known of the caller has arrived late: ESTALE. */
  readonly counter: number;
  readonly locks: readonly HeldLock[];
}

/** The whole lockspace as a value. Needs no membership. */
export interface DumpCall {
  readonly op: "dump";
}

export type MemberCall =
  | RenewCall
  | LockRequestCall
  | ConvertCall
  | BatchCall
  | UnlockCall
  | PollCall
  | EvictCall
  | FenceBeginCall
  | FenceResultCall
  | LeaveCall;
export type LockCall = HelloCall | FormatCall | JoinCall | RecoverCall | DumpCall | MemberCall;

/** active; fencing: see fence_begin; absent: on the list of a lockspace in state "recover", not checked in yet. */
export type MemberState = "active" | "fencing" | "absent";

export interface MemberRecord extends MemberSighting {
  readonly node: string;
  readonly process?: ProcessIdentity;
  readonly state: MemberState;
  /**
   * The generation of the list of members that it has said it knows (join, renew, recover). Before all active members
   * know of a newcomer it must do nothing: they would rebuild a lost lockspace without it.
   */
  readonly knows?: number;
  readonly fence?: {
    readonly token: number;
    /** Incarnation of the member that fences it. */
    readonly owner: string;
    /** Attempts that failed so far. */
    readonly tries: number;
  };
}

/** Granted modes that cannot stand together. */
export interface LockConflict {
  readonly name: string;
  readonly locks: readonly { readonly slot: DlmSlot; readonly mode: ModeNumber }[];
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
  /** `seq` of the event that granted it, or of the call that queued it. */
  readonly order: number;
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
  /** lock: the new lock's id. join, recover: the slot. batch: steps accepted. fence_begin: the token. Otherwise 0. */
  readonly value: number;
  readonly seq: number;
  readonly epoch: number;
  readonly generation: number;
  /** All events of the caller after `ack`. */
  readonly events: readonly LockEvent[];
  /** hello: of the lockspace there is. */
  readonly lsid?: string;
  /** hello, join, renew, poll, recover, dump. "recover": its members are reporting; nothing is locked or unlocked. */
  readonly state?: "run" | "recover";
  /** hello, join, renew, recover, dump. */
  readonly members?: readonly MemberRecord[];
  /** hello, join: of the members there are; 0 if there is none. */
  readonly leaseMs?: number;
  /** hello, join: of the members there are; empty if there is none. */
  readonly fencing?: string;
  /** recover, hello, dump: in state "recover", when everybody has reported. */
  readonly conflicts?: readonly LockConflict[];
  /**
   * hello, with ENOLS or EIDENT: the server cannot know whether it once held this lockspace. Whoever creates it anew
   * must first wait a full lease, so that no former member still writes.
   */
  readonly mayHaveForgotten?: boolean;
  /** With ENOLS, EIDENT, EEPOCH and ELOST: which life of the server says so. What another life said proves nothing of this one. */
  readonly server?: string;
  /** dump: sorted by name, by slot. */
  readonly resources?: readonly ResourceRecord[];
  readonly mailboxes?: readonly MailboxRecord[];
  /** dump, in state "recover": what was reported so far, by slot. */
  readonly reports?: readonly { readonly slot: DlmSlot; readonly locks: readonly HeldLock[] }[];
}
