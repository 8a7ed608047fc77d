import type { SimEvent } from "../sim-event.ts";

/** Watches the log of events for one broken promise; says so by `report`. */
export interface Checker {
  readonly name: string;
  observe(event: SimEvent): void;
}

export type Report = (text: string) => void;
