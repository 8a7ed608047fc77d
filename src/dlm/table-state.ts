import type { DlmSlot, LockEvent, LockReply, LockspaceSettings, MemberRecord, MemberSighting } from "./lock-call.ts";
import { lockStatus } from "./lock-status.ts";
import { isUnused, type LockResource, type Notice } from "./resource-state.ts";
import { type EventBody, isWhole, post, type TableMember } from "./table-member.ts";

/** What an operation answers, before events and members are added. */
export interface Outcome {
  readonly rc: number;
  readonly value: number;
}

export const outcome = (rc: number, value = 0): Outcome => ({ rc, value });
export const ok: Outcome = outcome(lockStatus.OK);

const noSettings: LockspaceSettings = { slots: 0, leaseMs: 0, lvbSize: 0, fencing: "" };

export const sameSettings = (a: LockspaceSettings, b: LockspaceSettings): boolean =>
  a.slots === b.slots && a.leaseMs === b.leaseMs && a.lvbSize === b.lvbSize && a.fencing === b.fencing;

/** One lockspace as its lock server keeps it, and the events that changes of it give. */
export class TableState {
  /** Empty: there is no lockspace yet. */
  lsid = "";
  epoch = 0;
  phase: "run" | "recover" = "run";
  generation = 0;
  seq = 0;
  /** The last lock id given. */
  lkid = 0;
  settings = noSettings;
  readonly members = new Map<DlmSlot, TableMember>();
  readonly resources = new Map<string, LockResource>();
  /** Phase "recover": incarnations that were removed since it was opened, and whether they had died. */
  readonly departed = new Map<string, { readonly dead: boolean }>();

  /** The slots that got events by the present call. */
  touched = new Set<DlmSlot>();

  get sortedMembers(): TableMember[] {
    return [...this.members.values()].sort((a, b) => a.slot - b.slot);
  }

  /** In byte order: names are ASCII. */
  get sortedResources(): LockResource[] {
    return [...this.resources.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** The member of this slot if it is (still) this incarnation. */
  member({ slot, incarnation }: Pick<MemberSighting, "slot" | "incarnation">): TableMember | undefined {
    const member = this.members.get(slot);
    return member?.incarnation === incarnation ? member : undefined;
  }

  forgetIfUnused(resource: LockResource): void {
    if (isUnused(resource)) this.resources.delete(resource.name);
  }

  readonly notify = (notice: Notice): void => {
    const { lock } = notice;
    if (notice.type === "bast") {
      this.tell(lock.slot, { type: "bast", lkid: lock.lkid, mode: notice.mode });
      return;
    }
    const { status, mode, lvb } = notice;
    const cast = { type: "cast", lkid: lock.lkid, status, mode, flags: lock.sb, lvbSeq: lock.lvbSeq } as const;
    this.tell(lock.slot, lvb === null ? cast : { ...cast, lvb });
    if (status === lockStatus.OK || status === lockStatus.ECANCEL) lock.order = this.seq;
  };

  tell(slot: DlmSlot, body: EventBody): void {
    const member = this.members.get(slot);
    if (member === undefined) return;
    this.seq += 1;
    post(member, this.seq, body);
    this.touched.add(slot);
  }

  /** Everybody who is not being fenced: such a member never reads again. */
  tellAll(body: EventBody): void {
    for (const { slot, state } of this.sortedMembers) if (state === "active") this.tell(slot, body);
  }

  tellDone(): void {
    const members = this.sortedMembers.map(({ slot, node }) => ({ slot, node }));
    this.tellAll({ type: "done", generation: this.generation, members });
  }

  /** `caller`: whose unacknowledged events go with it. */
  reply({ rc, value }: Outcome, caller?: TableMember): LockReply {
    const events: readonly LockEvent[] = caller === undefined || !isWhole(caller) ? [] : [...caller.events];
    return { rc, value, seq: this.seq, epoch: this.epoch, generation: this.generation, events };
  }

  get records(): MemberRecord[] {
    return this.sortedMembers.map(({ slot, incarnation, counter, node, state, knows, process, fence }) => ({
      slot,
      incarnation,
      counter,
      node,
      state,
      knows,
      ...(process === undefined ? {} : { process }),
      ...(fence === undefined ? {} : { fence }),
    }));
  }
}
