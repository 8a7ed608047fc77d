import { inSyncMembers } from "../array/md-array.ts";
import { readBytes } from "../array/write-members.ts";
import { MdError } from "../base/md-error.ts";
import type { Timer } from "../env/clock.ts";
import { PillCheck, type PillReader } from "../fencing/pill-check.ts";
import { TAKEOVER_BLOCK_BYTES } from "../fencing/takeover-blocks.ts";
import { pillAt, takeoverLayout } from "../fencing/takeover-layout.ts";
import type { NodeContext } from "./node-context.ts";

/**
 * Reads the own pill every so often, whether anything is written or not, and tells the guard when there was none: a node
 * that cannot read it for half the watchdog's time is not petted any more.
 */
export class PillPoll {
  readonly #context: NodeContext;
  readonly #reader: PillReader;
  readonly #check: PillCheck;
  readonly #onPill: (path: string) => void;
  #timer: Timer | null = null;
  #stopped = false;

  constructor(context: NodeContext, reader: PillReader, onPill: (path: string) => void) {
    this.#context = context;
    this.#reader = reader;
    this.#check = new PillCheck(reader);
    this.#onPill = onPill;
  }

  async run(): Promise<void> {
    if (this.#stopped) return;
    const { env, shared, deps } = this.#context;
    const now = env.clock.now();
    if (await this.#isClear()) shared.pillClearAt = now;
    if (!this.#stopped) this.#timer = env.clock.after(deps.options.pillEveryMs, () => void this.run());
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
  }

  /** Some in-sync member says so, and none the contrary. */
  async #isClear(): Promise<boolean> {
    const { array, devices } = this.#context;
    let clear = false;
    for (const member of inSyncMembers(array)) {
      const layout = takeoverLayout(array, member);
      const device = devices.get(member.number);
      if (layout === null || device === undefined) continue;
      try {
        const block = await readBytes(device, pillAt(layout, this.#reader.slot), TAKEOVER_BLOCK_BYTES);
        const verdict = this.#check.verdict(block, 0);
        if (verdict === "clear") clear = true;
        if (verdict !== "condemned") continue;
        this.#stopped = true;
        this.#onPill(device.path);
        return false;
      } catch (error) {
        if (!(error instanceof MdError)) throw error;
      }
    }
    return clear;
  }
}
