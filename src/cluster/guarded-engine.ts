import type { MdError } from "../base/md-error.ts";
import type { AnswerOf, Engine } from "../engine/engine.ts";
import type { EngineCommand, EngineNotice } from "../engine/engine-protocol.ts";
import type { SharedBlock } from "../engine/shared-block.ts";

/**
 * The data plane as the control plane uses it: when the node's life ends, whatever still waits for an answer (a write
 * that no lease allows any more, perhaps) ends too, with an error.
 */
export class GuardedEngine implements Engine {
  readonly shared: SharedBlock;
  readonly #engine: Engine;
  readonly #waiting = new Set<(error: MdError) => void>();
  #ended: MdError | null = null;
  #stopping: Promise<boolean> = Promise.resolve(false);

  constructor(engine: Engine) {
    this.shared = engine.shared;
    this.#engine = engine;
  }

  send<C extends EngineCommand>(command: C): Promise<AnswerOf<C["type"]>> {
    if (this.#ended !== null) return Promise.reject(this.#ended);
    const answer = this.#engine.send(command);
    if (command.type === "stop") {
      this.#stopping = answer.then(
        () => true,
        () => false,
      );
    }
    return new Promise((resolve, reject) => {
      this.#waiting.add(reject);
      answer.then(resolve, reject).finally(() => this.#waiting.delete(reject));
    });
  }

  /** Has it been stopped in order, so that nothing is written or answered any more? Waits for a stop under way. */
  hasStopped(): Promise<boolean> {
    return this.#stopping;
  }

  onNotice(listener: (notice: EngineNotice) => void): void {
    this.#engine.onNotice(listener);
  }

  end(error: MdError): void {
    this.#ended ??= error;
    for (const reject of this.#waiting) reject(error);
    this.#waiting.clear();
  }
}
