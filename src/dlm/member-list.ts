import type { DlmSlot, MemberRecord } from "./lock-call.ts";

interface Place {
  readonly slot: DlmSlot;
  readonly node: string;
}

/**
 * The members as a member reports them when the lock server has forgotten them. It must never hold somebody of whose
 * end we have been told, since we may have acted on that.
 */
export class MemberList {
  #generation: number;
  #learned: number;
  #records: readonly MemberRecord[];

  constructor(generation: number, records: readonly MemberRecord[]) {
    this.#generation = generation;
    this.#learned = generation;
    this.#records = records.map(plain);
  }

  /** The generation whose members are all known in full: who came with a later one is not on the list yet. */
  get learned(): number {
    return this.#learned;
  }

  get generation(): number {
    return this.#generation;
  }

  get records(): readonly MemberRecord[] {
    return this.#records;
  }

  /** As a running lock server lists them; an answer that was overtaken is old. */
  learn(generation: number, records: readonly MemberRecord[]): void {
    if (generation < this.#generation) return;
    this.#generation = generation;
    this.#learned = generation;
    this.#records = records.map(plain);
  }

  /** As a notification says; who is new is known in full with the next answer only. */
  settle(generation: number, present: readonly Place[]): void {
    if (generation <= this.#generation) return;
    this.#generation = generation;
    this.#records = this.#records.filter(({ slot, node }) =>
      present.some((place) => place.slot === slot && place.node === node),
    );
  }
}

/** Whether it is being fenced is the lock server's knowledge, and lost with it. */
function plain({ slot, incarnation, counter, node, process }: MemberRecord): MemberRecord {
  const record = { slot, incarnation, counter, node, state: "active" } as const;
  return process === undefined ? record : { ...record, process };
}
