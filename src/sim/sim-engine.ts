import { MdError } from "../base/md-error.ts";
import type { AnswerOf, Engine } from "../engine/engine.ts";
import { EngineLoop } from "../engine/engine-loop.ts";
import type { EngineCommand, EngineConfig, EngineNotice, WorkerToEngine } from "../engine/engine-protocol.ts";
import { PendingAnswers } from "../engine/pending-answers.ts";
import type { SharedBlock } from "../engine/shared-block.ts";
import { EngineObserver } from "./engine-observer.ts";
import type { SimDisk } from "./sim-disk.ts";
import { SimFrontEnd } from "./sim-front-end.ts";
import type { SimProcess } from "./sim-process.ts";
import { SimRing } from "./sim-ring.ts";
import type { World } from "./world.ts";
import type { Wrappers } from "./wrappers.ts";

export interface SimEngineOptions {
  readonly world: World;
  readonly process: SimProcess;
  readonly disks: readonly SimDisk[];
  /** Sectors of the longest request. */
  readonly longest: number;
  readonly shortTransfers: number;
  readonly zeroes: boolean;
  readonly wrappers: Wrappers;
}

/** Milliseconds that a command or an answer takes from one thread to the other, at most. */
const CROSSING_MS = 0.05;

/**
 * The data plane of a simulated node: the real loop on a thread of its own, over a simulated ring, turned whenever
 * something completes or comes in. What crosses between the threads takes time, and keeps its order.
 */
class SimEngine implements Engine {
  readonly shared: SharedBlock;
  readonly frontEnd: SimFrontEnd;
  readonly #options: SimEngineOptions;
  readonly #ring: SimRing;
  readonly #loop: EngineLoop;
  readonly #observer: EngineObserver;
  readonly #answers = new PendingAnswers();
  #stopId = -1;
  #stopped = false;
  #lastDown = 0;
  #lastUp = 0;

  constructor(config: EngineConfig, shared: SharedBlock, options: SimEngineOptions) {
    const { world, process, disks, longest, shortTransfers, zeroes } = options;
    this.#options = options;
    this.shared = shared;
    this.#ring = new SimRing({
      world,
      clock: process.dataClock,
      user: process.dataUser,
      disks: new Map(disks.map((disk) => [disk.path, disk])),
      entries: 256,
      arenaBytes: config.arenaBytes,
      shortTransfers,
      zeroes,
    });
    this.#loop = new EngineLoop({
      config,
      ring: options.wrappers.ring?.(this.#ring) ?? this.#ring,
      shared,
      now: () => process.clock.now(),
      openFrontEnd: () => {
        throw new MdError("E_USAGE", "a simulated node is not exported");
      },
    });
    this.#observer = new EngineObserver(world, process.life, config);
    this.#loop.connect((message) => this.#up(message));
    this.frontEnd = new SimFrontEnd(process.life, longest, () => this.#ring.wake());
    this.#loop.seat((seat) => this.frontEnd.sitDown(seat));
    this.#ring.onReady.set(() => this.#turn());
    this.#ring.wake();
  }

  send<C extends EngineCommand>(command: C): Promise<AnswerOf<C["type"]>> {
    const { id, answer } = this.#answers.expect();
    if (!this.#stopped) {
      if (command.type === "stop") this.#stopId = id;
      const { world, process } = this.#options;
      this.#lastDown = this.#inOrder(this.#lastDown);
      world.schedule(this.#lastDown - world.now, process.data, () => {
        if (this.#loop.ended) return;
        this.#observer.taken(id, command);
        this.#loop.take({ id, command });
        this.#ring.wake();
      });
    }
    // The answer's type follows from the command's: the loop answers each in its own way.
    return answer as Promise<AnswerOf<C["type"]>>;
  }

  /** Commands without an answer. */
  get unanswered(): number {
    return this.#answers.missing;
  }

  onNotice(listener: (notice: EngineNotice) => void): void {
    this.#answers.onNotice(listener);
  }

  #turn(): void {
    if (this.#loop.turn()) this.#ring.wake();
    if (this.#loop.ended) this.#ring.close(this.#loop.givenUp);
  }

  #up(message: WorkerToEngine): void {
    const { world, process } = this.#options;
    this.#observer.posted(message);
    this.#lastUp = this.#inOrder(this.#lastUp);
    world.schedule(this.#lastUp - world.now, process.control, () => this.#deliver(message));
  }

  /** As the handle of a real thread does: once it has stopped, nothing is answered any more. */
  #deliver(message: WorkerToEngine): void {
    if (this.#stopped) return;
    this.#answers.receive(message);
    if (message.type !== "done" || message.id !== this.#stopId) return;
    this.#stopped = true;
    this.#answers.fail(new MdError("E_ARRAY_NOT_ACTIVE", "the data plane has stopped"));
  }

  #inOrder(last: number): number {
    const { world } = this.#options;
    return Math.max(last, world.now + world.random.between(0, CROSSING_MS));
  }
}

/** Rejects with the MdError of a member that cannot be opened. */
export async function startSimEngine(
  config: EngineConfig,
  shared: SharedBlock,
  options: SimEngineOptions,
): Promise<{ readonly engine: Engine; readonly frontEnd: SimFrontEnd; readonly unanswered: () => number }> {
  const engine = new SimEngine(config, shared, options);
  const unanswered = (): number => engine.unanswered;
  return { engine: options.wrappers.engine?.(engine) ?? engine, frontEnd: engine.frontEnd, unanswered };
}
