import type { DlmSlot, FormatCall, LockCall, LockEvent, LockReply, MemberCall } from "./lock-call.ts";
import { lockStatus } from "./lock-status.ts";
import { dumpMailbox, dumpReport, dumpResource } from "./lock-table-dump.ts";
import { batch, convert, lock, unlock } from "./table-locks.ts";
import { isWhole, type TableMember, trim } from "./table-member.ts";
import { evict, fenceBegin, fenceResult, join, leave } from "./table-members.ts";
import { conflictsOf, recover } from "./table-recovery.ts";
import { type Outcome, ok, outcome, TableState } from "./table-state.ts";

/** Answers kept per member for repeated calls. */
const REPLY_RING = 64;

/** Refusals that are answered with a report: it must say which life of the server it is for, lest it come to another. */
const losesState: ReadonlySet<number> = new Set([lockStatus.EEPOCH, lockStatus.ELOST]);

/** Calls that must wait while the members report their locks. */
const needsLocks: ReadonlySet<LockCall["op"]> = new Set(["lock", "convert", "batch", "unlock"]);

/**
 * One lockspace of a lock server. No IO, no clock, no chance: what it answers is a function of the calls so far. The
 * Redis library (redis/lua) does the same, call by call.
 */
export class LockTable {
  readonly #server: string;
  readonly #state = new TableState();

  /** `server`: differs from that of any other life of the same server. */
  constructor(server = "") {
    this.#server = server;
  }

  /** Executes one call. The slots that got events by it are added to `touched`. */
  apply(call: LockCall, touched: Set<DlmSlot> = new Set()): LockReply {
    const state = this.#state;
    state.touched = touched;
    if (call.op === "format") return state.reply(this.#format(call));
    if (call.op === "recover") {
      if (call.server !== undefined && call.server !== this.#server) return this.#refuse(lockStatus.EIDENT);
      const outcome = recover(state, call);
      const reply = state.reply(outcome, outcome.rc === lockStatus.OK ? state.member(call) : undefined);
      return { ...reply, state: state.phase, members: state.records, ...this.#conflicts() };
    }
    if (state.lsid === "") return this.#refuse(lockStatus.ENOLS);
    switch (call.op) {
      case "hello":
        return { ...state.reply(ok), ...this.#about(), ...this.#conflicts(), lsid: state.lsid, server: this.#server };
      case "join": {
        const joined = join(state, call);
        const member = joined.rc === lockStatus.OK ? state.members.get(joined.value) : undefined;
        return { ...state.reply(joined, member), ...this.#about() };
      }
      case "dump":
        return this.#dump();
      default:
        return this.#applyForMember(call);
    }
  }

  #format(call: FormatCall): Outcome {
    const state = this.#state;
    if (state.lsid !== "") return outcome(lockStatus.EEXIST);
    state.lsid = call.lsid;
    state.epoch = Math.max(state.epoch, call.epoch) + 1;
    state.seq += 1;
    return ok;
  }

  #refuse(rc: number): LockReply {
    return { ...this.#state.reply(outcome(rc)), server: this.#server };
  }

  #about(): Pick<LockReply, "state" | "members" | "leaseMs" | "fencing"> {
    const { phase, records, settings } = this.#state;
    return { state: phase, members: records, leaseMs: settings.leaseMs, fencing: settings.fencing };
  }

  #conflicts(): Pick<LockReply, "conflicts"> {
    const conflicts = conflictsOf(this.#state);
    return conflicts.length === 0 ? {} : { conflicts };
  }

  #dump(): LockReply {
    const state = this.#state;
    const { phase, records, sortedMembers, sortedResources } = state;
    return {
      ...state.reply(ok),
      state: phase,
      members: records,
      resources: sortedResources.map(dumpResource),
      mailboxes: sortedMembers.map(dumpMailbox),
      ...(phase === "recover" ? { reports: sortedMembers.flatMap(dumpReport) } : {}),
      ...this.#conflicts(),
    };
  }

  #applyForMember(call: MemberCall): LockReply {
    const state = this.#state;
    const member = state.member(call);
    const refused = this.#check(call, member);
    if (losesState.has(refused)) return this.#refuse(refused);
    if (refused !== lockStatus.OK || member === undefined) return state.reply(outcome(refused));
    if (call.rid !== 0 && call.rid <= member.lastRid) return this.#repeat(member, call);
    if (call.rid > member.lastRid + 1) return state.reply(outcome(lockStatus.EGAP), member);

    trim(member, call.ack);
    const done = this.#execute(member, call);
    if (call.rid !== 0) {
      member.lastRid = call.rid;
      member.ring.set(call.rid % REPLY_RING, { rid: call.rid, ...done });
    }
    const reply = state.reply(done, state.member(call));
    if (call.op === "renew") return { ...reply, state: state.phase, members: state.records };
    return call.op === "poll" ? { ...reply, state: state.phase } : reply;
  }

  /** OK, or why this call is not even looked up in the reply ring. */
  #check(call: MemberCall, member: TableMember | undefined): number {
    const state = this.#state;
    if (call.epoch !== state.epoch) return lockStatus.EEPOCH;
    if (call.seen > state.seq) return lockStatus.ELOST;
    if (member === undefined || member.state === "fencing") return lockStatus.EFENCED;
    if (member.state === "absent") return lockStatus.EEPOCH;
    if (call.ack > member.sent || !isWhole(member)) return lockStatus.ELOST;
    return state.phase === "recover" && needsLocks.has(call.op) ? lockStatus.ERECOVER : lockStatus.OK;
  }

  /** A call that was executed before: the same answer, without executing it again. */
  #repeat(member: TableMember, call: MemberCall): LockReply {
    const kept = member.ring.get(call.rid % REPLY_RING);
    if (kept?.rid !== call.rid) return this.#state.reply(outcome(lockStatus.ESTALE), member);
    trim(member, call.ack);
    return this.#state.reply(kept, member);
  }

  #execute(member: TableMember, call: MemberCall): Outcome {
    const state = this.#state;
    switch (call.op) {
      case "poll":
        return ok;
      case "renew":
        member.counter = Math.max(member.counter, call.counter);
        member.knows = Math.max(member.knows, call.generation ?? 0);
        return ok;
      case "lock":
        return lock(state, member, call);
      case "convert":
        return convert(state, member, call);
      case "batch":
        return batch(state, member, call);
      case "unlock":
        return unlock(state, member, call);
      case "evict":
        return evict(state, call);
      case "fence_begin":
        return fenceBegin(state, member, call);
      case "fence_result":
        return fenceResult(state, call);
      case "leave":
        return leave(state, member);
    }
  }

  get exists(): boolean {
    return this.#state.lsid !== "";
  }

  /** What waits in a member's mailbox; null if `incarnation` is not (or no longer) the member of this slot. */
  mailbox(slot: DlmSlot, incarnation: string): readonly LockEvent[] | null {
    const member = this.#state.member({ slot, incarnation });
    return member === undefined ? null : [...member.events];
  }

  get memberCount(): number {
    return this.#state.members.size;
  }
}
