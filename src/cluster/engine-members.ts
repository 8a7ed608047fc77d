import type { ArrayChange } from "../array/array-state.ts";
import { bitmapStart, type MdArray, memberByNumber } from "../array/md-array.ts";
import type { Member } from "../array/member.ts";
import { assert } from "../base/assert.ts";
import { MdError } from "../base/md-error.ts";
import { type Sector, type SlotNumber, sector } from "../base/units.ts";
import type { BlockDevice } from "../blockdev/block-device.ts";
import type { Engine } from "../engine/engine.ts";
import type { EngineMember, EngineMemberState } from "../engine/engine-protocol.ts";
import { pillAt, takeoverLayout } from "../fencing/takeover-layout.ts";
import { sameUuid } from "../superblock/uuid.ts";
import type { FillTarget } from "./filling.ts";

/** How the data plane sees a member of `array`. */
export function engineMember(
  array: MdArray,
  member: Member,
  raidDisk: number,
  path: string,
  slot: SlotNumber,
  as: { readonly state: EngineMemberState; readonly recoveredTo: Sector },
): EngineMember {
  const { dataOffset } = member;
  const layout = takeoverLayout(array, member);
  const places = { bitmapAt: bitmapStart(array, member, slot), pillAt: layout === null ? null : pillAt(layout, slot) };
  return { raidDisk, path, dataOffset, ...places, ...as };
}

/**
 * Keeps the data plane's members in step with the array's. A failed member goes in two steps, because a node that
 * writes without it while another still reads from it would let that one read old data: `begin` stops reading from it
 * (writes still go there, whatever becomes of them), `settle` comes when every node has done so and stops the writes.
 */
export class EngineMembers {
  readonly #engine: Engine;
  readonly #slot: SlotNumber;
  readonly #devices: ReadonlyMap<number, BlockDevice>;
  /** Member number by raid_disk, as the data plane has it (faulty ones included until they are removed). */
  readonly #placed = new Map<number, Member>();
  /** raid_disks that the data plane itself has stopped using: they wait for `settleFailure`. */
  readonly #blocked = new Set<number>();
  /** Failed for us, perhaps not for all. */
  readonly #unsettled = new Set<number>();
  /** By member number: how often it has ended being a member. */
  readonly #lives = new Map<number, number>();

  constructor(engine: Engine, slot: SlotNumber, devices: ReadonlyMap<number, BlockDevice>, array: MdArray) {
    this.#engine = engine;
    this.#slot = slot;
    this.#devices = devices;
    for (const member of array.members) {
      if (member.raidDisk !== null) this.#placed.set(member.raidDisk, member);
    }
  }

  /** The number of the member that the data plane has there. */
  numberAt(raidDisk: number): number | null {
    return this.#placed.get(raidDisk)?.number ?? null;
  }

  /** Does the data plane have this very device? */
  holds(array: MdArray, number: number): boolean {
    const member = memberByNumber(array, number);
    if (member === null || member.raidDisk === null) return false;
    const placed = this.#placed.get(member.raidDisk);
    return placed !== undefined && placed.number === number && sameUuid(placed.deviceUuid, member.deviceUuid);
  }

  /** Another one after each end of its membership: what was copied to it before says nothing of what it has now. */
  lifeOf(number: number): number {
    return this.#lives.get(number) ?? 0;
  }

  block(raidDisk: number): void {
    this.#blocked.add(raidDisk);
  }

  isBlocked(raidDisk: number): boolean {
    return this.#blocked.has(raidDisk);
  }

  /** A member failed and somebody may not know it yet: the superblocks must be announced once more. */
  get hasUnsettled(): boolean {
    return this.#unsettled.size > 0;
  }

  /**
   * The array's events, by another node's update: bits that are cleared from now on were cleared at this event. Before
   * `begin`, which may be what allows to clear them.
   */
  learnEvents(events: number): void {
    this.#engine.send({ type: "setEvents", events }).catch((error: unknown) => {
      // Whether the page with it can be written shows by itself.
      if (!(error instanceof MdError)) throw error;
    });
  }

  /** `array` is the state after `changes`. Resolves when the data plane has carried them out. */
  async begin(array: MdArray, changes: readonly ArrayChange[]): Promise<void> {
    for (const change of changes) await this.#begin(array, change);
  }

  /** Every node has seen the changes begun before. The commands are on their way when it returns. */
  settle(array: MdArray): Promise<void> {
    const sent = [...this.#unsettled].map((raidDisk) => this.#stop(array, raidDisk));
    this.#unsettled.clear();
    return Promise.all(sent).then(() => {});
  }

  /** There is nothing to fall back on: the data plane goes on with the member, and fails what it could not write. */
  async settleLastCopy(raidDisk: number): Promise<void> {
    if (!this.#blocked.delete(raidDisk)) return;
    await this.#engine.send({ type: "settleFailure", raidDisk, outcome: "last_copy" });
  }

  /** The array knows already that the member is faulty. */
  async settleKnownFailure(raidDisk: number): Promise<void> {
    if (!this.#blocked.delete(raidDisk)) return;
    await this.#engine.send({ type: "settleFailure", raidDisk, outcome: "faulty" });
  }

  /** Our own copying has got so far: reads below may use the member. */
  async recoveredTo(array: MdArray, { number, deviceUuid, life }: FillTarget, to: Sector): Promise<void> {
    const member = memberByNumber(array, number);
    if (member?.state !== "rebuilding" || member.raidDisk === null || this.lifeOf(number) !== life) return;
    if (!sameUuid(member.deviceUuid, deviceUuid) || !this.holds(array, number)) return;
    // It has failed meanwhile: no read may go there any more.
    if (this.#blocked.has(member.raidDisk) || this.#unsettled.has(member.raidDisk)) return;
    await this.#place(array, { ...member, recoveredTo: to }, member.raidDisk, "rebuilding", to);
  }

  async #begin(array: MdArray, change: ArrayChange): Promise<void> {
    if (change.type === "failed" || change.type === "removed") {
      this.#lives.set(change.number, this.lifeOf(change.number) + 1);
    }
    switch (change.type) {
      case "failed":
        if (change.raidDisk !== null) await this.#stopReading(array, change.number, change.raidDisk);
        return;
      case "added":
        return;
      case "removed": {
        const place = [...this.#placed].find(([, member]) => member.number === change.number);
        if (place !== undefined) await this.#unplace(array, place[0]);
        return;
      }
      case "rebuilding":
      case "rebuilt": {
        const member = memberByNumber(array, change.number);
        assert(member !== null, `member ${change.number} changed and is not there`);
        const before = this.#placed.get(change.raidDisk);
        if (before !== undefined && before.number !== change.number) await this.#unplace(array, change.raidDisk);
        const rebuilt = change.type === "rebuilt";
        const to = rebuilt ? sector(0) : change.recoveredTo;
        await this.#place(array, member, change.raidDisk, rebuilt ? "in_sync" : "rebuilding", to);
      }
    }
  }

  async #stopReading(array: MdArray, number: number, raidDisk: number): Promise<void> {
    const member = this.#placed.get(raidDisk);
    if (member?.number !== number) return;
    this.#unsettled.add(raidDisk);
    if (!this.#blocked.has(raidDisk)) await this.#place(array, member, raidDisk, "rebuilding", sector(0));
  }

  async #stop(array: MdArray, raidDisk: number): Promise<void> {
    if (this.#blocked.has(raidDisk)) return this.settleKnownFailure(raidDisk);
    const member = this.#placed.get(raidDisk);
    if (member !== undefined) await this.#place(array, member, raidDisk, "faulty", sector(0));
  }

  async #place(
    array: MdArray,
    member: Member,
    raidDisk: number,
    state: EngineMemberState,
    recoveredTo: Sector,
  ): Promise<void> {
    const path = this.#devices.get(member.number)?.path;
    assert(path !== undefined, `member ${member.number} is not open`);
    const before = this.#placed.get(raidDisk);
    // At once: a failure that the data plane reports meanwhile is this member's.
    this.#placed.set(raidDisk, member);
    const wanted = engineMember(array, member, raidDisk, path, this.#slot, { state, recoveredTo });
    try {
      await this.#engine.send({ type: "setMember", member: wanted });
    } catch (error) {
      if (before === undefined) this.#placed.delete(raidDisk);
      else this.#placed.set(raidDisk, before);
      throw error;
    }
  }

  async #unplace(array: MdArray, raidDisk: number): Promise<void> {
    // Whoever gives the place away has announced the failure before: it is settled everywhere.
    if (this.#blocked.has(raidDisk) || this.#unsettled.delete(raidDisk)) await this.#stop(array, raidDisk);
    this.#placed.delete(raidDisk);
    await this.#engine.send({ type: "removeMember", raidDisk });
  }
}
