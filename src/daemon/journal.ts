import type { HistoryEvent } from "./control-api.ts";

const KEPT = 2000;

/** What happened on this node since the daemon started, oldest first; bounded. */
export class Journal {
  readonly #events: HistoryEvent[] = [];
  readonly #listeners = new Set<(event: HistoryEvent) => void>();
  #sequence = 0;

  add(event: Omit<HistoryEvent, "sequence">): void {
    const numbered = { sequence: ++this.#sequence, ...event };
    this.#events.push(numbered);
    if (this.#events.length > KEPT) this.#events.shift();
    for (const listener of [...this.#listeners]) listener(numbered);
  }

  /** After `since`; of one array (by name) or all. */
  read(array: string | null, since: number): readonly HistoryEvent[] {
    return this.#events.filter((event) => event.sequence > since && (array === null || event.array === array));
  }

  follow(listener: (event: HistoryEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}
