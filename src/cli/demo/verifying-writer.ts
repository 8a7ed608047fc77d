import type { Random } from "../../env/random.ts";
import { BLOCK_BYTES, patternOf, seedOf } from "./pattern.ts";

/** As much of an NBD connection as a workload needs. */
export interface BlockStore {
  read(offset: number, length: number): Promise<Buffer>;
  write(offset: number, data: Buffer): Promise<void>;
}

/** What happened to one block: the last write that was acknowledged, and those sent after it without an answer. */
interface BlockHistory {
  acknowledged: number | null;
  unanswered: number[];
}

export interface VerifyResult {
  readonly blocks: number;
  /** Blocks whose content no acknowledged or unanswered write explains: lost, torn or foreign. */
  readonly wrong: readonly number[];
}

/**
 * A workload that knows what must be on the disk: random blocks of its own region, several in flight, never two on the
 * same block. After a crash a block must hold its last acknowledged write, or one that was sent and never answered.
 */
export class VerifyingWriter {
  readonly #firstBlock: number;
  readonly #blocks: number;
  readonly #random: Random;
  readonly #history = new Map<number, BlockHistory>();
  readonly #busy = new Set<number>();
  #seed = 0;
  #acknowledgedWrites = 0;
  readonly #milestones: { readonly writes: number; readonly reached: () => void }[] = [];

  constructor(region: { readonly firstBlock: number; readonly blocks: number }, random: Random) {
    this.#firstBlock = region.firstBlock;
    this.#blocks = region.blocks;
    this.#random = random;
  }

  get acknowledgedWrites(): number {
    return this.#acknowledgedWrites;
  }

  /** Resolves once so many writes were acknowledged, counted from the beginning. */
  acknowledged(writes: number): Promise<void> {
    return new Promise((reached) => {
      this.#milestones.push({ writes, reached });
      this.#tellMilestones();
    });
  }

  #tellMilestones(): void {
    for (let i = this.#milestones.length - 1; i >= 0; i--) {
      const milestone = this.#milestones[i];
      if (milestone === undefined || milestone.writes > this.#acknowledgedWrites) continue;
      this.#milestones.splice(i, 1);
      milestone.reached();
    }
  }

  /**
   * Writes with `depth` requests in flight until `signal` aborts or one of them fails. Never rejects for that: resolves,
   * when all have ended, with why the first failed, null if none did.
   */
  async run(store: BlockStore, depth: number, signal: AbortSignal): Promise<Error | null> {
    const broken = new AbortController();
    const ends = AbortSignal.any([signal, broken.signal]);
    await Promise.all(Array.from({ length: depth }, () => this.#writeUntil(store, ends, broken)));
    return broken.signal.aborted ? (broken.signal.reason as Error) : null;
  }

  async #writeUntil(store: BlockStore, ends: AbortSignal, broken: AbortController): Promise<void> {
    while (!ends.aborted) {
      const block = this.#idleBlock();
      const seed = ++this.#seed;
      const history = this.#history.get(block) ?? { acknowledged: null, unanswered: [] };
      this.#history.set(block, history);
      history.unanswered.push(seed);
      this.#busy.add(block);
      try {
        await store.write(block * BLOCK_BYTES, patternOf(block, seed));
      } catch (error) {
        // Sent and not answered: it may or may not be there, and the connection is of no more use.
        broken.abort(error);
        return;
      } finally {
        this.#busy.delete(block);
      }
      history.acknowledged = seed;
      history.unanswered = [];
      this.#acknowledgedWrites++;
      this.#tellMilestones();
    }
  }

  #idleBlock(): number {
    for (;;) {
      const block = this.#firstBlock + Math.floor(this.#random.next() * this.#blocks);
      if (!this.#busy.has(block)) return block;
    }
  }

  /** Reads every block ever written and compares. What is found becomes what must stay. */
  async verify(store: BlockStore): Promise<VerifyResult> {
    const wrong: number[] = [];
    for (const [block, history] of this.#history) {
      const bytes = await store.read(block * BLOCK_BYTES, BLOCK_BYTES);
      const seed = bytes.every((byte) => byte === 0) ? null : seedOf(block, bytes);
      const untouched = history.acknowledged === null && bytes.every((byte) => byte === 0);
      const explained = seed !== null && (seed === history.acknowledged || history.unanswered.includes(seed));
      if (!untouched && !explained) wrong.push(block);
      else if (seed !== null) {
        history.acknowledged = seed;
        history.unanswered = [];
      }
    }
    return { blocks: this.#history.size, wrong };
  }
}
