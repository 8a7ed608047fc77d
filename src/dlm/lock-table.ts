import type {
  ConvertCall,
  DlmSlot,
  EvictCall,
  FormatCall,
  JoinCall,
  LockCall,
  LockEvent,
  LockReply,
  LockRequestCall,
  MemberCall,
  MemberRecord,
  MemberSighting,
  UnlockCall,
} from "./lock-call.ts";
import { lockFlag } from "./lock-flags.ts";
import { cancelLock, convertLock, removeLocksOf, requestLock, unlockLock } from "./lock-resource.ts";
import { lockStatus } from "./lock-status.ts";
import { dumpMailbox, dumpResource } from "./lock-table-dump.ts";
import { checkConvert, checkRequest, checkUnlock, quecvtAllowed } from "./lock-validation.ts";
import { emptyResource, isUnused, type LockResource, type Notice, type ResourceLock } from "./resource-state.ts";
import { type EventBody, newMember, post, type TableMember, trim } from "./table-member.ts";

/** Answers kept per member for repeated calls. */
const REPLY_RING = 64;

interface Outcome {
  readonly rc: number;
  readonly value: number;
}

const outcome = (rc: number, value = 0): Outcome => ({ rc, value });
const ok = outcome(lockStatus.OK);

/**
 * One lockspace as its lock server keeps it: members, resources and mailboxes. No IO, no clock, no chance: what it
 * answers is a function of the calls so far. The Redis library (redis/lua) does the same, call by call.
 */
export class LockTable {
  /** Empty: there is no lockspace yet. */
  #lsid = "";
  #epoch = 0;
  #generation = 0;
  #seq = 0;
  #lkid = 0;
  #slots = 0;
  #leaseMs = 0;
  #lvbSize = 0;
  #fencing = "";
  readonly #members = new Map<DlmSlot, TableMember>();
  readonly #resources = new Map<string, LockResource>();

  /** Executes one call. The slots that got events by it are added to `touched`. */
  apply(call: LockCall, touched: Set<DlmSlot> = new Set()): LockReply {
    if (call.op === "format") return this.#reply(this.#format(call));
    if (this.#lsid === "") return this.#reply(outcome(lockStatus.ENOLS));
    switch (call.op) {
      case "hello":
        return { ...this.#reply(ok), ...this.#about(), lsid: this.#lsid };
      case "join": {
        const joined = this.#join(call, touched);
        const member = joined.rc === lockStatus.OK ? this.#members.get(joined.value) : undefined;
        return { ...this.#reply(joined, member), ...this.#about() };
      }
      case "recover":
        return this.#reply(outcome(lockStatus.EFENCED));
      case "dump":
        return {
          ...this.#reply(ok),
          members: this.#sightings(),
          resources: this.#sortedResources().map(dumpResource),
          mailboxes: this.#sortedMembers().map(dumpMailbox),
        };
      default:
        return this.#applyForMember(call, touched);
    }
  }

  #applyForMember(call: MemberCall, touched: Set<DlmSlot>): LockReply {
    const member = this.#members.get(call.slot);
    if (call.epoch !== this.#epoch) return this.#reply(outcome(lockStatus.EEPOCH));
    if (call.seen > this.#seq) return this.#reply(outcome(lockStatus.ELOST));
    if (member === undefined || member.incarnation !== call.incarnation) {
      return this.#reply(outcome(lockStatus.EFENCED));
    }
    if (call.ack > member.sent) return this.#reply(outcome(lockStatus.ELOST));
    if (call.rid !== 0 && call.rid <= member.lastRid) return this.#repeat(member, call);
    if (call.rid > member.lastRid + 1) return this.#reply(outcome(lockStatus.EGAP), member);

    trim(member, call.ack);
    const done = this.#execute(member, call, touched);
    if (call.rid !== 0) {
      member.lastRid = call.rid;
      member.ring.set(call.rid % REPLY_RING, { rid: call.rid, ...done });
    }
    const stays = this.#members.get(call.slot) === member ? member : undefined;
    const reply = this.#reply(done, stays);
    return call.op === "renew" ? { ...reply, members: this.#sightings() } : reply;
  }

  /** A call that was executed before: the same answer, without executing it again. */
  #repeat(member: TableMember, call: MemberCall): LockReply {
    const kept = member.ring.get(call.rid % REPLY_RING);
    if (kept?.rid !== call.rid) return this.#reply(outcome(lockStatus.ESTALE), member);
    trim(member, call.ack);
    return this.#reply(kept, member);
  }

  #execute(member: TableMember, call: MemberCall, touched: Set<DlmSlot>): Outcome {
    switch (call.op) {
      case "poll":
        return ok;
      case "renew":
        member.counter = Math.max(member.counter, call.counter);
        return ok;
      case "lock":
        return this.#lock(member, call, touched);
      case "convert":
        return this.#convert(member, call, touched);
      case "unlock":
        return this.#unlock(member, call, touched);
      case "evict":
        return this.#evict(call, touched);
      case "leave":
        return this.#leave(member, touched);
      case "batch":
      case "fence_begin":
      case "fence_result":
        return outcome(lockStatus.EINVAL);
    }
  }

  #format(call: FormatCall): Outcome {
    if (this.#lsid !== "") return outcome(lockStatus.EEXIST);
    this.#lsid = call.lsid;
    this.#epoch = Math.max(this.#epoch, call.epoch) + 1;
    this.#seq += 1;
    return ok;
  }

  #join(call: JoinCall, touched: Set<DlmSlot>): Outcome {
    for (const member of this.#members.values()) {
      if (member.incarnation === call.incarnation) return outcome(lockStatus.OK, member.slot);
    }
    for (const sighting of call.gone) if (this.#isUnchanged(sighting)) this.#remove(sighting.slot, true, touched);
    for (const member of this.#members.values()) if (member.node === call.node) return outcome(lockStatus.EBUSY);
    if (this.#members.size === 0) {
      this.#slots = call.slots;
      this.#leaseMs = call.leaseMs;
      this.#lvbSize = call.lvbSize;
      this.#fencing = call.fencing;
    } else if (
      this.#slots !== call.slots ||
      this.#leaseMs !== call.leaseMs ||
      this.#lvbSize !== call.lvbSize ||
      this.#fencing !== call.fencing
    ) {
      return outcome(lockStatus.EPROTO);
    }
    let slot = 1;
    while (this.#members.has(slot)) slot += 1;
    if (slot > this.#slots) return outcome(lockStatus.ERANGE);

    this.#seq += 1;
    this.#generation += 1;
    this.#tellAll({ type: "prep" }, touched);
    this.#tellAll({ type: "joined", slot, node: call.node }, touched);
    this.#members.set(slot, newMember(slot, call));
    this.#tellDone(touched);
    return outcome(lockStatus.OK, slot);
  }

  #lock(member: TableMember, call: LockRequestCall, touched: Set<DlmSlot>): Outcome {
    const rc = checkRequest(call, this.#lvbSize);
    if (rc !== lockStatus.OK) return outcome(rc);
    this.#seq += 1;
    this.#lkid += 1;
    const resource = this.#resources.get(call.name) ?? emptyResource(call.name);
    this.#resources.set(call.name, resource);
    const lock: ResourceLock = {
      lkid: this.#lkid,
      slot: member.slot,
      gr: -1,
      rq: call.mode,
      ex: call.flags,
      sb: 0,
      hi: 0,
      bast: call.bast,
      lvbSeq: 0,
    };
    requestLock(resource, lock, (notice) => this.#notify(notice, touched));
    this.#forgetIfUnused(resource);
    return outcome(lockStatus.OK, lock.lkid);
  }

  #convert(member: TableMember, call: ConvertCall, touched: Set<DlmSlot>): Outcome {
    const rc = checkConvert(call, this.#lvbSize);
    if (rc !== lockStatus.OK) return outcome(rc);
    const resource = this.#resources.get(call.name);
    const lock = resource && findLock(resource, member.slot, call.lkid);
    if (resource === undefined || lock === undefined) return outcome(lockStatus.ENOENT);
    if (call.flags & lockFlag.QUECVT && !quecvtAllowed(lock.gr, call.mode)) return outcome(lockStatus.EINVAL);
    if (!resource.granted.includes(lock)) return outcome(lockStatus.EBUSY);
    this.#seq += 1;
    const asked = { mode: call.mode, flags: call.flags, input: call.lvb ?? null };
    convertLock(resource, lock, asked, (notice) => this.#notify(notice, touched));
    return ok;
  }

  #unlock(member: TableMember, call: UnlockCall, touched: Set<DlmSlot>): Outcome {
    const rc = checkUnlock(call, this.#lvbSize);
    if (rc !== lockStatus.OK) return outcome(rc);
    const resource = this.#resources.get(call.name);
    const lock = resource && findLock(resource, member.slot, call.lkid);
    if (resource === undefined || lock === undefined) return outcome(lockStatus.ENOENT);
    const emit = (notice: Notice): void => this.#notify(notice, touched);
    if (call.flags & lockFlag.CANCEL) {
      this.#seq += 1;
      cancelLock(resource, lock, emit);
    } else {
      if (!(call.flags & lockFlag.FORCEUNLOCK) && !resource.granted.includes(lock)) return outcome(lockStatus.EBUSY);
      this.#seq += 1;
      unlockLock(resource, lock, { flags: call.flags, input: call.lvb ?? null }, emit);
    }
    this.#forgetIfUnused(resource);
    return ok;
  }

  #evict({ victim }: EvictCall, touched: Set<DlmSlot>): Outcome {
    if (this.#members.get(victim.slot)?.incarnation !== victim.incarnation) return ok; // somebody was faster
    if (!this.#isUnchanged(victim)) return outcome(lockStatus.EALIVE);
    this.#seq += 1;
    this.#remove(victim.slot, true, touched);
    return ok;
  }

  #leave(member: TableMember, touched: Set<DlmSlot>): Outcome {
    this.#seq += 1;
    this.#remove(member.slot, false, touched);
    return ok;
  }

  #isUnchanged({ slot, incarnation, counter }: MemberSighting): boolean {
    const member = this.#members.get(slot);
    return member?.incarnation === incarnation && member.counter === counter;
  }

  /** prep, then who is gone, then what its locks held up, then done: nobody gets a dead member's lock before the news. */
  #remove(slot: DlmSlot, dead: boolean, touched: Set<DlmSlot>): void {
    const member = this.#members.get(slot);
    if (member === undefined) return;
    this.#members.delete(slot);
    this.#generation += 1;
    this.#tellAll({ type: "prep" }, touched);
    this.#tellAll({ type: dead ? "failed" : "left", slot, node: member.node }, touched);
    for (const resource of this.#sortedResources()) {
      removeLocksOf(resource, slot, dead, (notice) => this.#notify(notice, touched));
      this.#forgetIfUnused(resource);
    }
    this.#tellDone(touched);
  }

  #forgetIfUnused(resource: LockResource): void {
    if (isUnused(resource)) this.#resources.delete(resource.name);
  }

  #notify(notice: Notice, touched: Set<DlmSlot>): void {
    const { lock } = notice;
    if (notice.type === "bast") {
      this.#tell(lock.slot, { type: "bast", lkid: lock.lkid, mode: notice.mode }, touched);
      return;
    }
    const { status, mode, lvb } = notice;
    const cast = { type: "cast", lkid: lock.lkid, status, mode, flags: lock.sb, lvbSeq: lock.lvbSeq } as const;
    this.#tell(lock.slot, lvb === null ? cast : { ...cast, lvb }, touched);
  }

  #tell(slot: DlmSlot, body: EventBody, touched: Set<DlmSlot>): void {
    const member = this.#members.get(slot);
    if (member === undefined) return;
    this.#seq += 1;
    post(member, this.#seq, body);
    touched.add(slot);
  }

  #tellAll(body: EventBody, touched: Set<DlmSlot>): void {
    for (const { slot } of this.#sortedMembers()) this.#tell(slot, body, touched);
  }

  #tellDone(touched: Set<DlmSlot>): void {
    const members = this.#sortedMembers().map(({ slot, node }) => ({ slot, node }));
    this.#tellAll({ type: "done", generation: this.#generation, members }, touched);
  }

  #sortedMembers(): TableMember[] {
    return [...this.#members.values()].sort((a, b) => a.slot - b.slot);
  }

  /** In byte order: names are ASCII. */
  #sortedResources(): LockResource[] {
    return [...this.#resources.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  #about(): Pick<LockReply, "members" | "leaseMs" | "fencing"> {
    return { members: this.#sightings(), leaseMs: this.#leaseMs, fencing: this.#fencing };
  }

  #sightings(): MemberRecord[] {
    return this.#sortedMembers().map(({ slot, incarnation, counter, node, process }) => {
      const record = { slot, incarnation, counter, node, state: "active" } as const;
      return process === undefined ? record : { ...record, process };
    });
  }

  /** What waits in a member's mailbox; null if `incarnation` is not (or no longer) the member of this slot. */
  mailbox(slot: DlmSlot, incarnation: string): readonly LockEvent[] | null {
    const member = this.#members.get(slot);
    return member?.incarnation === incarnation ? [...member.events] : null;
  }

  get memberCount(): number {
    return this.#members.size;
  }

  #reply({ rc, value }: Outcome, member?: TableMember): LockReply {
    const { length } = member?.events ?? [];
    return {
      rc,
      value,
      seq: this.#seq,
      epoch: this.#epoch,
      generation: this.#generation,
      events: length === 0 ? [] : [...(member?.events ?? [])],
    };
  }
}

function findLock(resource: LockResource, slot: DlmSlot, lkid: number): ResourceLock | undefined {
  for (const queue of [resource.granted, resource.convert, resource.wait]) {
    const lock = queue.find((l) => l.lkid === lkid && l.slot === slot);
    if (lock !== undefined) return lock;
  }
  return undefined;
}
