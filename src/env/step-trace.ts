import { toTagged } from "../base/tagged-json.ts";
import type { Env } from "./env.ts";

/**
 * Tells the log (level trace) each step of one pure machine: `machine.state` where its life or a recording begins,
 * `machine.step` with what went in and what came out. Whoever has these lines can run the machine again.
 * `at`: milliseconds of CLOCK_MONOTONIC. Values are as `toTagged` makes them.
 */
export class StepTrace<State, Event, Effect> {
  readonly #env: Env;
  readonly #machine: string;

  constructor(env: Env, machine: string) {
    this.#env = env;
    this.#machine = machine;
  }

  began(state: State): void {
    this.#tell("machine.state", () => ({ state: toTagged(state) }));
  }

  took(event: Event, effects: readonly Effect[]): void {
    this.#tell("machine.step", () => ({ event: toTagged(event), effects: toTagged(effects) }));
  }

  #tell(evt: string, fields: () => Readonly<Record<string, unknown>>): void {
    const { clock, log } = this.#env;
    if (log.tracing) log.trace({ evt, machine: this.#machine, at: clock.now(), ...fields() }, this.#machine);
  }
}
