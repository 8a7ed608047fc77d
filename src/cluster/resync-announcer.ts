import { type SectorRange, sector } from "../base/units.ts";
import type { NodeContext } from "./node-context.ts";

/**
 * What the other nodes are told of our copying: first in the value block, where joiners look, then to those who are
 * here: no node can miss both. Each call resolves when every node has acted on it.
 */
export class ResyncAnnouncer {
  readonly #context: NodeContext;
  readonly #stop: AbortSignal;
  /** Do the others believe that we resync? */
  #told = false;

  constructor(context: NodeContext, stop: AbortSignal) {
    this.#context = context;
    this.#stop = stop;
  }

  /** We have the `resync` lock and work to do: nobody need wait for the first window. */
  async start(): Promise<void> {
    if (this.#told) return;
    this.#told = true;
    const { bus, lockspace } = this.#context;
    await bus.send(() => ({ type: "resyncing_start", from: lockspace.slot }), this.#stop);
  }

  /**
   * From now on no other node writes in `window`, and none reads there but from the first copy. `isCheck`: nothing is written
   * here either, so that elsewhere they go on to read from all copies.
   */
  async show(window: SectorRange, isCheck = false): Promise<void> {
    const { ownWindow, bus, lockspace } = this.#context;
    this.#told = true;
    await ownWindow.show(window);
    const kind = isCheck ? ({ isCheck } as const) : {};
    await bus.send(() => ({ type: "resyncing", from: lockspace.slot, range: window, ...kind }), this.#stop);
  }

  /**
   * Nothing of ours is suspended elsewhere any more. Not when we are interrupted by our own leaving: whoever takes over
   * goes on behind the same window (md-cluster, 13.5).
   */
  async withdraw(): Promise<void> {
    if (this.#stop.aborted) return;
    await this.#context.ownWindow.show(null);
    await this.#tellWhatIsLeft();
  }

  /** Nobody should wait for a window in which nothing happens; the others still know that there is more to come. */
  async pause(): Promise<void> {
    await this.withdraw();
    await this.start();
  }

  /** At the end of a turn with the lock: the others must not wait for more. */
  async end(): Promise<void> {
    if (this.#told) await this.withdraw();
  }

  /** Nothing is left to copy: the others may balance their reads again, if they do not know it yet. */
  async rest(): Promise<void> {
    if (this.#told) await this.withdraw();
    else if (this.#context.ownWindow.needsResync) await this.#tellWhatIsLeft();
  }

  async #tellWhatIsLeft(): Promise<void> {
    const { ownWindow, bus, lockspace, engine, members } = this.#context;
    const { range } = await engine.send({ type: "scan", kind: "resync", from: sector(0) });
    // A member that failed here keeps copies different as well, until all know; `settleFailure` has us look again.
    const needs = range !== null || (ownWindow.needsResync && members.hasBlocked);
    if (!this.#told && ownWindow.needsResync === needs) return;
    await ownWindow.needs(needs);
    this.#told = false;
    await bus.send(() => ({ type: "resyncing", from: lockspace.slot, range: null }), this.#stop);
  }
}
