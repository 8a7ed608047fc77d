import type { ArrayChange } from "../array/array-state.ts";
import { bitmapStart, isClustered, type MdArray, memberByNumber } from "../array/md-array.ts";
import { hasFlag, type Member, MemberFlag } from "../array/member.ts";
import { assert } from "../base/assert.ts";
import { deferred } from "../base/deferred.ts";
import { MdError } from "../base/md-error.ts";
import { type Sector, type SlotNumber, sector } from "../base/units.ts";
import type { BlockDevice } from "../blockdev/block-device.ts";
import type { Engine } from "../engine/engine.ts";
import { type EngineMember, type EngineMemberState, roomFor, secondPlace } from "../engine/engine-protocol.ts";
import { pillAt, takeoverLayout } from "../fencing/takeover-layout.ts";
import { sameUuid } from "../superblock/uuid.ts";
import type { FillTarget } from "./filling.ts";
import { badBlocksFor } from "./member-bad-blocks.ts";

/** Where a member is when a data plane starts with it; later ones go where there is room. */
export const firstPlace = (raidDisk: number, { isReplacement }: Member, room: number): number =>
  isReplacement ? secondPlace(raidDisk, room) : raidDisk;

/** How the data plane sees a member of `array`. */
export function engineMember(
  array: MdArray,
  member: Member,
  place: number,
  path: string,
  slot: SlotNumber,
  as: { readonly state: EngineMemberState; readonly recoveredTo: Sector },
): EngineMember {
  const { dataOffset } = member;
  // In a cluster all read from the same copy while mirrors may differ: md has no such members there.
  const writeMostly = !isClustered(array) && hasFlag(member, MemberFlag.writeMostly);
  const badBlocks = isClustered(array) ? null : badBlocksFor(member, !hasFlag(member, MemberFlag.failfast));
  const layout = takeoverLayout(array, member);
  const places = { bitmapAt: bitmapStart(array, member, slot), pillAt: layout === null ? null : pillAt(layout, slot) };
  return { place, path, dataOffset, writeMostly, badBlocks, ...places, ...as };
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
  readonly #room: number;
  /** By place, as the data plane has it (faulty ones included until they are removed, or another takes the place). */
  readonly #placed = new Map<number, Member>();
  /** Places that the data plane itself has stopped using: they wait for `settleFailure`. */
  readonly #onBlocked = new Set<() => void>();
  readonly #blocked = new Set<number>();
  /** Places whose member has failed for us. */
  readonly #failed = new Set<number>();
  /** Of those, the ones of which not all nodes may know. */
  readonly #unsettled = new Set<number>();
  /** By member number: how often it has ended being a member. */
  readonly #lives = new Map<number, number>();

  constructor(engine: Engine, slot: SlotNumber, devices: ReadonlyMap<number, BlockDevice>, array: MdArray) {
    this.#engine = engine;
    this.#slot = slot;
    this.#devices = devices;
    this.#room = roomFor(array.raidDisks);
    for (const member of array.members) {
      if (member.raidDisk !== null) this.#placed.set(firstPlace(member.raidDisk, member, this.#room), member);
    }
  }

  /** The number of the member that the data plane has there. */
  numberAt(place: number): number | null {
    return this.#placed.get(place)?.number ?? null;
  }

  /** Does the data plane have this very device? */
  holds(array: MdArray, number: number): boolean {
    const member = memberByNumber(array, number);
    if (member === null || member.raidDisk === null) return false;
    const placed = this.#placed.get(this.#placeOf(number) ?? -1);
    return placed !== undefined && sameUuid(placed.deviceUuid, member.deviceUuid);
  }

  /** Another one after each end of its membership: what was copied to it before says nothing of what it has now. */
  lifeOf(number: number): number {
    return this.#lives.get(number) ?? 0;
  }

  block(place: number): void {
    this.#blocked.add(place);
    for (const wake of this.#onBlocked) wake();
  }

  /**
   * For the holder of the token: `work`, unless a member fails before it is done. What the data plane is to make durable
   * may wait for the failure's end, and that for the token. Then false; the work goes on without us.
   */
  async unlessBlocked(work: Promise<unknown>): Promise<boolean> {
    const { promise, resolve } = deferred<boolean>();
    const wake = (): void => resolve(false);
    if (this.hasBlocked) wake();
    this.#onBlocked.add(wake);
    const done = work.then(() => true);
    // Its error is nobody's any more once the race is over.
    done.catch(() => {});
    try {
      return await Promise.race([promise, done]);
    } finally {
      this.#onBlocked.delete(wake);
    }
  }

  isBlocked(place: number): boolean {
    return this.#blocked.has(place);
  }

  /** Where the data plane has the member; null if it does not. */
  placeOf(number: number): number | null {
    return this.#placeOf(number);
  }

  isBlockedMember(number: number): boolean {
    return this.#blocked.has(this.#placeOf(number) ?? -1);
  }

  get hasBlocked(): boolean {
    return this.#blocked.size > 0;
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
    const sent = [...this.#unsettled].map((place) => this.#stop(array, place));
    this.#unsettled.clear();
    return Promise.all(sent).then(() => {});
  }

  /** There is nothing to fall back on: the data plane goes on with the member, and fails what it could not write. */
  async settleLastCopy(place: number): Promise<void> {
    if (!this.#blocked.delete(place)) return;
    await this.#engine.send({ type: "settleFailure", place, outcome: "last_copy" });
  }

  /** The array knows already that the member is faulty. */
  async settleKnownFailure(place: number): Promise<void> {
    if (!this.#blocked.delete(place)) return;
    await this.#engine.send({ type: "settleFailure", place, outcome: "faulty" });
  }

  /** Our own copying has got so far: reads below may use the member. */
  async recoveredTo(array: MdArray, { number, deviceUuid, life }: FillTarget, to: Sector): Promise<void> {
    const member = memberByNumber(array, number);
    if (member?.state !== "rebuilding" || member.raidDisk === null || this.lifeOf(number) !== life) return;
    const place = this.#placeOf(number);
    if (place === null || !sameUuid(member.deviceUuid, deviceUuid) || !this.holds(array, number)) return;
    // It has failed meanwhile: no read may go there any more.
    if (this.#blocked.has(place) || this.#unsettled.has(place)) return;
    await this.#place(array, { ...member, recoveredTo: to }, place, "rebuilding", to);
  }

  #placeOf(number: number): number | null {
    return [...this.#placed].find(([, member]) => member.number === number)?.[0] ?? null;
  }

  /** Where a member of the raid_disk is, or is to be: for one that comes in, where no other is in use. */
  #placeFor(number: number, raidDisk: number): number {
    const places = [raidDisk, secondPlace(raidDisk, this.#room)];
    const isOver = (place: number): boolean => this.#failed.has(place) && !this.#unsettled.has(place);
    return (
      places.find((place) => this.#placed.get(place)?.number === number) ??
      places.find((place) => isOver(place) && !this.#blocked.has(place)) ??
      places.find((place) => !this.#placed.has(place)) ??
      places.find((place) => this.#failed.has(place)) ??
      raidDisk
    );
  }

  async #begin(array: MdArray, change: ArrayChange): Promise<void> {
    if (change.type === "failed" || change.type === "removed") {
      this.#lives.set(change.number, this.lifeOf(change.number) + 1);
    }
    switch (change.type) {
      case "failed":
        if (change.raidDisk !== null) await this.#stopReading(array, change.number);
        return;
      case "added":
        return;
      case "removed": {
        const place = this.#placeOf(change.number);
        if (place !== null) await this.#unplace(array, place);
        return;
      }
      case "rebuilding":
      case "rebuilt": {
        const member = memberByNumber(array, change.number);
        assert(member !== null, `member ${change.number} changed and is not there`);
        const place = this.#placeFor(change.number, change.raidDisk);
        const before = this.numberAt(place);
        if (before !== null && before !== change.number) await this.#unplace(array, place);
        this.#failed.delete(place);
        const rebuilt = change.type === "rebuilt";
        const to = rebuilt ? sector(0) : change.recoveredTo;
        await this.#place(array, member, place, rebuilt ? "in_sync" : "rebuilding", to);
      }
    }
  }

  async #stopReading(array: MdArray, number: number): Promise<void> {
    const place = this.#placeOf(number);
    const member = place === null ? undefined : this.#placed.get(place);
    if (place === null || member === undefined) return;
    this.#failed.add(place);
    this.#unsettled.add(place);
    if (!this.#blocked.has(place)) await this.#place(array, member, place, "rebuilding", sector(0));
  }

  async #stop(array: MdArray, place: number): Promise<void> {
    if (this.#blocked.has(place)) return this.settleKnownFailure(place);
    const member = this.#placed.get(place);
    if (member !== undefined) await this.#place(array, member, place, "faulty", sector(0));
  }

  async #place(
    array: MdArray,
    member: Member,
    place: number,
    state: EngineMemberState,
    recoveredTo: Sector,
  ): Promise<void> {
    const path = this.#devices.get(member.number)?.path;
    assert(path !== undefined, `member ${member.number} is not open`);
    const before = this.#placed.get(place);
    // At once: a failure that the data plane reports meanwhile is this member's.
    this.#placed.set(place, member);
    const wanted = engineMember(array, member, place, path, this.#slot, { state, recoveredTo });
    try {
      await this.#engine.send({ type: "setMember", member: wanted });
    } catch (error) {
      if (before === undefined) this.#placed.delete(place);
      else this.#placed.set(place, before);
      throw error;
    }
  }

  async #unplace(array: MdArray, place: number): Promise<void> {
    // Whoever gives the place away has announced the failure before: it is settled everywhere.
    if (this.#blocked.has(place) || this.#unsettled.delete(place)) await this.#stop(array, place);
    this.#placed.delete(place);
    this.#failed.delete(place);
    await this.#engine.send({ type: "removeMember", place });
  }
}
