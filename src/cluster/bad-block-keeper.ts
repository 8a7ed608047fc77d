import type { MdArray } from "../array/md-array.ts";
import type { Member } from "../array/member.ts";
import { MdError } from "../base/md-error.ts";
import { type SectorRange, sectorRange } from "../base/units.ts";
import type { EngineNotice } from "../engine/engine-protocol.ts";
import { sleep } from "../env/clock.ts";
import { entriesOf } from "../superblock/bad-block-log.ts";
import { rewriteMetadata } from "./metadata-update.ts";
import { memberText, type NodeContext } from "./node-context.ts";

type Notice = Extract<EngineNotice, { type: "badBlocks" }>;

interface List {
  /** Of the member's memberships the one that it is of. */
  readonly life: number;
  /** From the start of its data. */
  readonly ranges: readonly SectorRange[];
}

/** Milliseconds until lists that could not be written are tried again. */
const RETRY_MS = 1000;

/**
 * Brings what the data plane finds out of bad blocks into the members' logs: with a metadata update of their own, or with
 * one that comes anyway. What hangs on it is answered when it is durable (md: MD_SB_CHANGE_PENDING).
 */
export class BadBlockKeeper {
  /** By member number. */
  readonly #lists = new Map<number, List>();
  #version = 0;
  #written = 0;
  #isWriting = false;

  /** Something is not durable yet. */
  get isPending(): boolean {
    return this.#version > this.#written;
  }

  found(context: NodeContext, { version, members }: Notice): void {
    for (const { place, ranges } of members) {
      const number = context.members.numberAt(place);
      if (number === null) continue;
      const before = this.#of(context, number)?.ranges ?? null;
      this.#lists.set(number, { life: context.members.lifeOf(number), ranges });
      const sectors = sectorsOf(ranges);
      const change = sectors - sectorsOf(before ?? []);
      const text = `${memberText(context, number)}: ${sectors} sectors are recorded as bad blocks`;
      context.history.add(change > 0 ? "warn" : "info", "BADBLOCK", text, { number, sectors });
    }
    this.#version = version;
    if (!this.#isWriting) void this.#write(context);
  }

  /** The array as it is to be written. */
  in(context: NodeContext, array: MdArray): MdArray {
    if (this.#lists.size === 0) return array;
    return { ...array, members: array.members.map((member) => this.#withList(context, member)) };
  }

  #withList(context: NodeContext, member: Member): Member {
    const { badBlockLog, dataOffset, number } = member;
    const list = this.#of(context, number);
    if (badBlockLog === null || list === null) return member;
    const ranges = list.ranges.map(({ lo, hi }) => sectorRange(lo + dataOffset, hi + dataOffset));
    return { ...member, badBlockLog: { ...badBlockLog, entries: entriesOf(ranges, badBlockLog.shift) } };
  }

  #of({ members }: NodeContext, number: number): List | null {
    const list = this.#lists.get(number);
    return list !== undefined && list.life === members.lifeOf(number) ? list : null;
  }

  async #write(context: NodeContext): Promise<void> {
    this.#isWriting = true;
    try {
      while (this.isPending && context.node.phase !== "fenced") {
        const version = this.#version;
        const error = await attempt(() => rewriteMetadata(context));
        if (error === null) this.#written = version;
        await context.engine.send({ type: "badBlocksWritten", version, durable: error === null });
        if (error === null) {
          // What the superblocks did not say of the copies while this was not on them.
          if (!this.isPending) context.safeMode.moved();
          continue;
        }
        if (context.node.phase !== "active") return;
        context.history.add("error", "BADBLOCK", `bad blocks could not be recorded: ${error.message}`);
        await sleep(context.env.clock, RETRY_MS);
      }
    } catch (error) {
      // The data plane is gone, and with it what waited.
      if (!(error instanceof MdError)) throw error;
    } finally {
      this.#isWriting = false;
    }
  }
}

async function attempt(action: () => Promise<void>): Promise<MdError | null> {
  try {
    await action();
    return null;
  } catch (error) {
    if (!(error instanceof MdError)) throw error;
    return error;
  }
}

const sectorsOf = (ranges: readonly SectorRange[]): number => ranges.reduce((sum, { lo, hi }) => sum + hi - lo, 0);
