import type { SlotNumber } from "../base/units.ts";
import type { Frozen, LockspaceListener, LockspaceMember } from "../dlm/lockspace.ts";
import type { NodeEvent } from "./node-machine.ts";

/** Turns the lockspace's callbacks into events, and keeps them until the node is there to take them. */
export class MembershipFeed implements LockspaceListener {
  readonly #waiting: NodeEvent[] = [];
  #sink: ((event: NodeEvent) => void) | null = null;
  readonly #onFenced: () => void;
  #reachable = true;
  #onReachable: (reachable: boolean) => void = () => {};
  #onFrozen: (frozen: Frozen | null) => void = () => {};

  /** `onFenced`: at once, also while nobody takes events yet. */
  constructor(onFenced: () => void) {
    this.#onFenced = onFenced;
  }

  connect(
    sink: (event: NodeEvent) => void,
    onReachable: (reachable: boolean) => void,
    onFrozen: (frozen: Frozen | null) => void,
  ): void {
    this.#sink = sink;
    this.#onReachable = onReachable;
    this.#onFrozen = onFrozen;
    for (const event of this.#waiting.splice(0)) sink(event);
  }

  get reachable(): boolean {
    return this.#reachable;
  }

  recoverPrep(): void {
    this.#feed({ type: "prep" });
  }

  recoverSlot(member: LockspaceMember): void {
    this.#feed({ type: "died", member });
  }

  recoverDone(members: readonly LockspaceMember[], _ownSlot: SlotNumber, _generation: number): void {
    this.#feed({ type: "done", members });
  }

  fenced(reason: string): void {
    this.#onFenced();
    this.#feed({ type: "fenced", reason });
  }

  serverReachable(reachable: boolean): void {
    this.#reachable = reachable;
    this.#onReachable(reachable);
  }

  frozen(state: Frozen): void {
    this.#onFrozen(state);
  }

  thawed(): void {
    this.#onFrozen(null);
  }

  #feed(event: NodeEvent): void {
    if (this.#sink === null) this.#waiting.push(event);
    else this.#sink(event);
  }
}
