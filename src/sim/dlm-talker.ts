import type { Lockspace } from "../dlm/lockspace.ts";
import { sleep } from "../env/clock.ts";
import { MessageBus } from "../messages/message-bus.ts";
import type { DlmScenario } from "./dlm-scenario.ts";
import type { SimProcess } from "./sim-process.ts";
import type { World } from "./world.ts";

/** A life that says numbers to all others. */
export class DlmTalker {
  readonly #world: World;
  readonly #process: SimProcess;
  readonly #lockspace: Lockspace;
  readonly #scenario: DlmScenario;
  readonly #isOver: () => boolean;
  isSaying = false;

  constructor(
    world: World,
    process: SimProcess,
    lockspace: Lockspace,
    { scenario, isOver }: { readonly scenario: DlmScenario; readonly isOver: () => boolean },
  ) {
    this.#world = world;
    this.#process = process;
    this.#lockspace = lockspace;
    this.#scenario = scenario;
    this.#isOver = isOver;
  }

  /** Rejects with the end of the membership. */
  async run(): Promise<never> {
    const { life, env } = this.#process;
    const bus = await MessageBus.open(this.#lockspace, env, (message) => {
      if (message.type === "metadata_updated") {
        this.#world.emit({ type: "message_heard", life, number: message.number });
      }
      return Promise.resolve(null);
    });
    this.isSaying = true;
    await bus.join(() => Promise.resolve());
    bus.listen();
    this.isSaying = false;
    this.#world.emit({ type: "listening", life });
    for (;;) {
      await sleep(env.clock, this.#world.random.between(...this.#scenario.think));
      if (this.#isOver()) continue;
      this.isSaying = true;
      const number = this.#world.nextId() % 2 ** 31;
      const message = { type: "metadata_updated", from: this.#lockspace.slot, number } as const;
      this.#world.emit({ type: "message_begun", life, number, message });
      await bus.send(() => message);
      this.#world.emit({ type: "message_said", life, number });
      this.isSaying = false;
    }
  }
}
