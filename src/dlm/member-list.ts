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
  /** By incarnation. */
  #fenced = new Map<string, MemberRecord["fence"]>();

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
    return this.#records.map((record) => {
      const fence = this.#fenced.get(record.incarnation);
      return fence === undefined ? record : { ...record, state: "fencing", fence };
    });
  }

  /**
   * Who was seen being fenced, in an answer of whatever state, is so until it is removed: a lock server that forgets it
   * must not let it in again, since something may have been done to it.
   */
  noteFencing(records: readonly MemberRecord[]): void {
    for (const { incarnation, fence } of records) if (fence !== undefined) this.#fenced.set(incarnation, fence);
  }

  /** As a running lock server lists them; an answer that was overtaken is old. */
  learn(generation: number, records: readonly MemberRecord[]): void {
    if (generation < this.#generation) return;
    this.#generation = generation;
    this.#learned = generation;
    this.#records = records.map(plain);
    const present = new Set(records.map(({ incarnation }) => incarnation));
    for (const incarnation of this.#fenced.keys()) if (!present.has(incarnation)) this.#fenced.delete(incarnation);
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

function plain({ slot, incarnation, counter, node, process }: MemberRecord): MemberRecord {
  const record = { slot, incarnation, counter, node, state: "active" } as const;
  return process === undefined ? record : { ...record, process };
}
