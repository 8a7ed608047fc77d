import type { Lock, Lockspace } from "../../src/dlm/lockspace.ts";
import type { ClusterMessage } from "../../src/messages/message.ts";
import { decodeFrame } from "../../src/messages/message-codec.ts";
import type { SimEvent } from "../../src/sim/sim-event.ts";
import type { Wrappers } from "../../src/sim/wrappers.ts";

/** Lines of a node's log that tell people something, not what its data plane is made of. */
const isTold = ({ level, text }: { readonly level: string; readonly text: string }): boolean =>
  ["info", "warn", "error"].includes(level) && !text.startsWith("{");

/**
 * What happened in a simulated cluster, as lines to read: what nodes told people, and what they told each other. A
 * node's lines stay in their order; between nodes there is none, because it hangs on latencies. What is repeated is said
 * once, so that a transcript says what happened and not how often.
 */
export class Story {
  readonly #byNode = new Map<string, string[]>();
  readonly #nodeOfSlot = new Map<number, string>();

  /** Listens to what is published in the value block of `message`. */
  readonly wrappers: Wrappers = { lockspace: (lockspace) => this.#listen(lockspace) };

  observe(event: SimEvent): void {
    if (event.type === "joined") this.#nodeOfSlot.set(event.slot, nodeOf(event.life));
    else if (event.type === "log" && isTold(event)) this.#add(nodeOf(event.life), event.text);
    else if (event.type === "life_ended") this.#add(nodeOf(event.life), `ends: ${event.why}`);
  }

  take(): readonly string[] {
    const lines = [...this.#byNode].sort(([a], [b]) => a.localeCompare(b)).flatMap(([, told]) => told);
    this.#byNode.clear();
    return lines;
  }

  #listen(lockspace: Lockspace): Lockspace {
    let message: Lock | null = null;
    const said = (lvb: Uint8Array | undefined): void => {
      const frame = lvb === undefined ? null : decodeFrame(lvb);
      if (frame?.orphaned === true) this.#sayAgain(frame.message, lockspace.slot);
      else if (frame !== null) this.#say(frame.message);
    };
    return {
      name: lockspace.name,
      slot: lockspace.slot,
      incarnation: lockspace.incarnation,
      get generation() {
        return lockspace.generation;
      },
      get members() {
        return lockspace.members;
      },
      get frozen() {
        return lockspace.frozen;
      },
      async open(resource, options) {
        const lock = await lockspace.open(resource, options);
        if (resource === "message") message = lock;
        return lock;
      },
      convertAll(steps, signal) {
        for (const { lock, mode, lvb } of steps) if (lock === message && mode === "CW") said(lvb);
        return lockspace.convertAll(steps, signal);
      },
      dump: () => lockspace.dump(),
      status: () => lockspace.status(),
      evict: (member) => lockspace.evict(member),
      leave: () => lockspace.leave(),
      abandon: () => lockspace.abandon(),
    };
  }

  /** Windows come and go: which step one falls into hangs on how large they are. */
  #say(message: ClusterMessage): void {
    if (message.type === "resyncing" || message.type === "resyncing_start") return;
    this.#add(this.#nodeIn(message.from), `says ${messageText(message)}`);
  }

  #sayAgain(message: ClusterMessage, slot: number): void {
    this.#add(this.#nodeIn(slot), `says again ${messageText(message)} of ${this.#nodeIn(message.from)}`);
  }

  #nodeIn(slot: number): string {
    return this.#nodeOfSlot.get(slot) ?? `slot ${slot}`;
  }

  #add(node: string, text: string): void {
    const line = `${node}: ${text}`;
    const lines = this.#byNode.get(node) ?? [];
    this.#byNode.set(node, lines);
    if (!lines.includes(line)) lines.push(line);
  }
}

const nodeOf = (life: string): string => life.split(".")[0] ?? life;

function messageText(message: ClusterMessage): string {
  switch (message.type) {
    case "newdisk":
    case "remove":
    case "re_add":
    case "metadata_updated":
      return `${message.type.toUpperCase()} ${message.number}`;
    default:
      return message.type.toUpperCase();
  }
}
