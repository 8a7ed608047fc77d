import type { Clock } from "../env/clock.ts";
import type { Operation } from "./control-api.ts";
import { errorInfo } from "./error-info.ts";
import { timeText } from "./time-text.ts";

const KEPT = 200;

/**
 * What was begun by a command and what became of it. An operation belongs to the daemon: it goes on when its client is
 * gone, and `op show` tells how it ended.
 */
export class Operations {
  readonly #clock: Clock;
  readonly #operations = new Map<string, Operation>();
  #last = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Runs `action` as an operation; what it returns or throws is also the operation's result. */
  async run<T>(command: string, action: (id: string) => Promise<T>): Promise<T> {
    const id = String(++this.#last);
    const begun: Operation = {
      id,
      command,
      state: "running",
      startedAt: timeText(this.#clock.wall()),
      endedAt: null,
      result: null,
    };
    this.#operations.set(id, begun);
    this.#forgetOldest();
    try {
      const value = await action(id);
      this.#operations.set(id, { ...begun, state: "done", endedAt: timeText(this.#clock.wall()) });
      return value;
    } catch (error) {
      const endedAt = timeText(this.#clock.wall());
      this.#operations.set(id, { ...begun, state: "failed", endedAt, result: errorInfo(error) });
      throw error;
    }
  }

  get(id: string): Operation | null {
    return this.#operations.get(id) ?? null;
  }

  /** Oldest first. */
  list(): readonly Operation[] {
    return [...this.#operations.values()];
  }

  running(): readonly Operation[] {
    return this.list().filter(({ state }) => state === "running");
  }

  #forgetOldest(): void {
    if (this.#operations.size <= KEPT) return;
    const oldest = this.list().find(({ state }) => state !== "running");
    if (oldest !== undefined) this.#operations.delete(oldest.id);
  }
}
