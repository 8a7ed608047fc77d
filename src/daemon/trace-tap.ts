import type { LogFields } from "../env/logger.ts";

/** Trace records for whoever asks for them while the daemon runs, at whatever level it logs. */
export class TraceTap {
  readonly #listeners = new Set<(record: LogFields) => void>();

  get isOpen(): boolean {
    return this.#listeners.size > 0;
  }

  tell(record: LogFields): void {
    for (const listener of this.#listeners) listener(record);
  }

  /** Returns what ends it. */
  listen(listener: (record: LogFields) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}
