import type { AnswerOf, Engine } from "./engine.ts";
import type { EngineLoop } from "./engine-loop.ts";
import type { EngineCommand, EngineNotice } from "./engine-protocol.ts";
import { PendingAnswers } from "./pending-answers.ts";
import type { SharedBlock } from "./shared-block.ts";

/**
 * An engine without a thread: the loop runs when its ring says that something is ready (`onReady`), when a command comes
 * in, and when `run` is called. For a simulation, where the ring decides when; and for tests.
 */
export class LocalEngine implements Engine {
  readonly shared: SharedBlock;
  readonly #loop: EngineLoop;
  readonly #wake: () => void;
  readonly #answers = new PendingAnswers();
  #running = false;

  /** `wake`: how a command gets the loop to run; by default at once, in the caller's stack. */
  constructor(loop: EngineLoop, wake?: () => void) {
    this.shared = loop.shared;
    this.#loop = loop;
    this.#wake = wake ?? ((): void => this.run());
    loop.connect((message) => this.#answers.receive(message));
    loop.ring.onReady?.set(() => this.run());
  }

  send<C extends EngineCommand>(command: C): Promise<AnswerOf<C["type"]>> {
    const { id, answer } = this.#answers.expect();
    this.#loop.take({ id, command });
    this.#wake();
    return answer as Promise<AnswerOf<C["type"]>>;
  }

  onNotice(listener: (notice: EngineNotice) => void): void {
    this.#answers.onNotice(listener);
  }

  /** Turns, until one has nothing more to do. */
  run(): void {
    // A command sent from within a turn is taken by the next one.
    if (this.#running) return;
    this.#running = true;
    try {
      while (this.#loop.turn());
    } finally {
      this.#running = false;
    }
  }
}
