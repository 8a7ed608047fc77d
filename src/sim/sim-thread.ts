import type { World } from "./world.ts";

interface Held {
  readonly action: () => void;
  cancelled: boolean;
}

/** A thread of a simulated process: what its events hang on. */
export class SimThread {
  readonly name: string;
  readonly #world: World;
  readonly #held: Held[] = [];
  #state: "running" | "paused" | "ended" = "running";
  /** What it has decided to do and is doing in the same breath: no instant lies in between. */
  #onPause: () => void = () => {};

  constructor(world: World, name: string) {
    this.#world = world;
    this.name = name;
  }

  get ended(): boolean {
    return this.#state === "ended";
  }

  get paused(): boolean {
    return this.#state === "paused";
  }

  /** Nothing of it happens any more. */
  end(): void {
    this.#state = "ended";
    this.#held.length = 0;
  }

  /** As SIGSTOP: time passes, it does not notice. */
  pause(): void {
    if (this.#state !== "running") return;
    this.#onPause();
    this.#state = "paused";
  }

  /** `finish` ends what is under way before the thread stands still. */
  beforePause(finish: () => void): void {
    this.#onPause = finish;
  }

  /** What fell due meanwhile happens now, in its order. */
  resume(): void {
    if (this.#state !== "paused") return;
    this.#state = "running";
    for (const held of this.#held.splice(0)) {
      this.#world.schedule(0, this, () => {
        if (!held.cancelled) held.action();
      });
    }
  }

  /** `action` happens on this thread as soon as it runs. */
  later(action: () => void): void {
    this.#world.schedule(0, this, action);
  }

  /** While paused: keeps the event for later and says so. */
  hold(event: Held): boolean {
    if (this.#state !== "paused") return false;
    this.#held.push(event);
    return true;
  }
}
