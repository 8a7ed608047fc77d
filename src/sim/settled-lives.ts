import type { SimEvent } from "./sim-event.ts";

/**
 * Whose unacknowledged writes are decided: lives that are thrown out of the lockspace, and of which every other member
 * has heard that they are. From then on all nodes read doubtful sectors from the same mirror.
 */
export class SettledLives {
  readonly #members = new Set<string>();
  readonly #began = new Set<string>();
  readonly #settled = new Set<string>();
  /** By life: members that may not know yet. */
  readonly #unaware = new Map<string, Set<string>>();

  has(life: string): boolean {
    return this.#settled.has(life);
  }

  observe(event: SimEvent): void {
    switch (event.type) {
      case "life_began":
        this.#began.add(event.life);
        break;
      case "joined":
        this.#members.add(event.life);
        break;
      case "evicted":
        this.#forget(event.life);
        this.#unaware.set(event.life, new Set(this.#members));
        break;
      case "readmitted":
        this.#settled.delete(event.life);
        this.#unaware.delete(event.life);
        break;
      case "life_ended":
        this.#forget(event.life);
        break;
      case "recovering":
        for (const unaware of this.#unaware.values()) unaware.delete(event.life);
        break;
      case "power_cut":
        for (const life of this.#began) this.#settled.add(life);
        this.#members.clear();
        this.#unaware.clear();
        break;
      default:
        return;
    }
    for (const [life, unaware] of this.#unaware) {
      if (unaware.size > 0) continue;
      this.#unaware.delete(life);
      this.#settled.add(life);
    }
  }

  #forget(life: string): void {
    this.#members.delete(life);
    for (const unaware of this.#unaware.values()) unaware.delete(life);
  }
}
