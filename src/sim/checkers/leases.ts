import type { SimEvent } from "../sim-event.ts";

/**
 * Whose lease holds. Without one a member may be told anything: a lock server that was replaced still speaks with it.
 * What it believes then is of no consequence, since it writes nothing and answers nobody.
 */
export class Leases {
  readonly #now: () => number;
  readonly #until = new Map<string, number>();

  constructor(now: () => number) {
    this.#now = now;
  }

  observe(event: SimEvent): void {
    if (event.type === "lease") this.#until.set(event.life, event.until);
  }

  holds(life: string): boolean {
    return (this.#until.get(life) ?? 0) > this.#now();
  }
}
