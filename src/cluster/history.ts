import type { Env } from "../env/env.ts";
import type { LogFields } from "../env/logger.ts";
import type { ArrayEvent } from "./array-status.ts";

const KEPT = 500;

/** What happened to the array on this node, for people: a bounded list, a log line each, and whoever listens. */
export class History {
  readonly #env: Env;
  readonly #events: ArrayEvent[] = [];
  readonly #listeners: ((event: ArrayEvent) => void)[] = [];

  constructor(env: Env) {
    this.#env = env;
  }

  add(severity: ArrayEvent["severity"], code: string, text: string, fields: LogFields = {}): void {
    const event: ArrayEvent = { time: this.#env.clock.wall(), severity, code, text, fields };
    this.#events.push(event);
    if (this.#events.length > KEPT) this.#events.shift();
    this.#env.log[severity]({ evt: code.toLowerCase(), ...fields }, text);
    for (const listener of this.#listeners) listener(event);
  }

  onEvent(listener: (event: ArrayEvent) => void): void {
    this.#listeners.push(listener);
  }

  get events(): readonly ArrayEvent[] {
    return [...this.#events];
  }
}
