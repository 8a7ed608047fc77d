import { describe, expect, it } from "vitest";
import { MdError } from "../../src/base/md-error.ts";
import { MemoryLockMaster } from "../../src/dlm/memory-lock-master.ts";
import { sleep } from "../../src/env/clock.ts";
import { silentLogger } from "../../src/env/logger.ts";
import { Cable } from "../support/cable.ts";
import { FakeClock } from "../support/fake-clock.ts";
import { joinRecorded, type RecordedNode } from "../support/lockspace-node.ts";
import { SeededRandom } from "../support/seeded-random.ts";

const SECONDS = 40;

/** A node that takes `token` in EX over and over, and joins again whenever it was put out. */
class Contender {
  readonly cable: Cable;
  grants = 0;
  #node: RecordedNode | null = null;
  #holds = false;
  readonly #name: string;
  readonly #clock: FakeClock;
  readonly #random: SeededRandom;
  readonly #check: () => void;

  constructor(name: string, server: MemoryLockMaster, clock: FakeClock, random: SeededRandom, check: () => void) {
    this.#name = name;
    this.cable = new Cable(server);
    this.#clock = clock;
    this.#random = random;
    this.#check = check;
  }

  /** Holds the lock as far as it knows, and its lease allows writing. */
  get mayWrite(): boolean {
    return this.#holds && this.#clock.now() < (this.#node?.deadline ?? 0);
  }

  async live(): Promise<never> {
    const env = { clock: this.#clock, random: this.#random, log: silentLogger };
    for (;;) {
      try {
        this.#node = await joinRecorded(this.cable, env, this.#name);
        await this.#contend(this.#node);
      } catch (error) {
        if (!(error instanceof MdError)) throw error;
        this.#holds = false;
        await sleep(this.#clock, 50);
      }
    }
  }

  async #contend({ lockspace }: RecordedNode): Promise<never> {
    const token = await lockspace.open("token", { lvb: false });
    for (;;) {
      const { status } = await token.convert("EX");
      expect(status).toBe("granted");
      this.#holds = true;
      this.grants += 1;
      for (let turn = this.#random.below(20); turn >= 0; turn--) {
        this.#check();
        await sleep(this.#clock, 10);
      }
      this.#check();
      this.#holds = false;
      await token.convert("NL");
      await sleep(this.#clock, this.#random.below(100));
    }
  }
}

describe("an exclusive lock under broken connections", () => {
  it.each(Array.from({ length: 20 }, (_, at) => at + 1))("is held by one writer at a time, seed %i", async (seed) => {
    const clock = new FakeClock();
    const random = new SeededRandom(seed);
    const server = new MemoryLockMaster();
    const nodes: Contender[] = [];
    let evictions = 0;
    const check = (): void => {
      const writers = nodes.filter(({ mayWrite }) => mayWrite);
      if (writers.length > 1) throw new Error(`${writers.length} writers at ${clock.now()}`);
    };
    for (const name of ["n1", "n2", "n3"]) nodes.push(new Contender(name, server, clock, random, check));
    let failure: unknown = null;
    for (const node of nodes) {
      node.live().catch((error: unknown) => {
        failure ??= error;
      });
    }
    for (let at = 0; at < SECONDS * 10 && failure === null; at++) {
      await clock.advance(100);
      check();
      const victim = nodes[random.below(3)];
      const states = ["up", "up", "up", "no request", "no reply", "silent"] as const;
      if (victim !== undefined && random.next() < 0.1) victim.cable.state = states[random.below(states.length)] ?? "up";
    }
    evictions = nodes.flatMap(({ cable }) => cable.calls).filter(({ op }) => op === "evict").length;
    if (failure !== null) throw failure;
    for (const node of nodes) node.cable.state = "up";
    const before = nodes.map(({ grants }) => grants);
    await clock.advance(6000);
    // All of them get it again once the connections are whole: nothing is stuck.
    for (const [at, { grants }] of nodes.entries()) expect(grants).toBeGreaterThan(before[at] ?? 0);
    if (failure !== null) throw failure;
    expect(evictions).toBeGreaterThan(0);
  });
});
