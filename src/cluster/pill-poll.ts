import type { Timer } from "../env/clock.ts";
import { PillCheck, type PillReader } from "../fencing/pill-check.ts";
import type { NodeContext } from "./node-context.ts";
import { readOwnPill } from "./own-pill.ts";

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

  async #isClear(): Promise<boolean> {
    const { verdict, path } = await readOwnPill(this.#context, this.#reader, this.#check);
    if (verdict === "condemned") {
      this.#stopped = true;
      this.#onPill(path);
    }
    return verdict === "clear";
  }
}
