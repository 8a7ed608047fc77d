import type { ConvertStep, Grant } from "../dlm/lockspace.ts";
import type { Logger } from "../env/logger.ts";
import { decodeFrame } from "../messages/message-codec.ts";
import { decodeResyncWindow } from "../messages/resync-window-codec.ts";
import type { SaidMessages } from "./said-messages.ts";
import type { World } from "./world.ts";

/**
 * Tells the checkers what one life says to the others and hears of them. What is said, and that a life is done with what
 * it heard, others can know by the locks `message` and `ack` alone; that its handler was given the message, its log says.
 */
export class ChannelWitness {
  readonly #world: World;
  readonly #life: string;
  readonly #messages: SaidMessages;
  #listening = false;
  /** Of its own that was said last; of another's that it has read last. */
  #said: number | null = null;
  #read: number | null = null;
  /** Its handler was given what was read last. */
  #taken = false;

  constructor(world: World, life: string, messages: SaidMessages) {
    this.#world = world;
    this.#life = life;
    this.#messages = messages;
  }

  /** The log as it is, read on the way. */
  listenTo(log: Logger): Logger {
    const trace: Logger["trace"] = (fields, text) => {
      if (fields["evt"] === "message") this.#taken = true;
      log.trace(fields, text);
    };
    return { ...log, trace, child: () => this.listenTo(log) };
  }

  asked(steps: readonly ConvertStep[]): void {
    for (const { lock, mode, lvb } of steps) {
      if (lock.resource === "message" && mode === "CW" && lvb !== undefined) this.#begin(lvb);
      if (lock.resource === "ack" && mode === "NL") this.#processed();
    }
  }

  granted(steps: readonly ConvertStep[], grants: readonly Grant[]): void {
    for (const [at, grant] of grants.entries()) {
      const resource = steps[at]?.lock.resource;
      if (grant.status !== "granted" || steps[at]?.mode !== grant.mode) continue;
      const reads = grant.mode === "CR" || grant.mode === "EX";
      if (resource === "message" && reads && grant.lvb !== null) this.#readFrame(grant.lvb);
      if (resource === "ack" && grant.mode === "CR") this.#listen();
      if (resource === "ack" && grant.mode === "EX") this.#end();
    }
  }

  /** In the value block of its slot. */
  shows(slot: number, lvb: Uint8Array): void {
    const range = decodeResyncWindow(lvb)?.range ?? null;
    this.#world.tell({ type: "window_shown", life: this.#life, slot, range });
  }

  /** Senders wait for it no longer. */
  closed(): void {
    if (!this.#listening) return;
    this.#listening = false;
    this.#world.emit({ type: "deaf", life: this.#life });
  }

  #listen(): void {
    if (this.#listening) return;
    this.#listening = true;
    this.#world.emit({ type: "listening", life: this.#life });
  }

  #begin(lvb: Uint8Array): void {
    const frame = decodeFrame(lvb);
    if (frame === null) return;
    this.#said = this.#messages.begin(frame);
    if (frame.orphaned === true) {
      // Who says it again has processed it first, if it had not heard it.
      this.#processed();
      return;
    }
    this.#world.emit({ type: "message_begun", life: this.#life, number: this.#said, message: frame.message });
  }

  #end(): void {
    if (this.#said !== null) this.#world.emit({ type: "message_said", life: this.#life, number: this.#said });
    this.#said = null;
  }

  #readFrame(lvb: Uint8Array): void {
    const frame = decodeFrame(lvb);
    this.#read = frame === null ? null : this.#messages.numberOf(frame);
    this.#taken = false;
  }

  #processed(): void {
    if (!this.#taken || this.#read === null) return;
    this.#taken = false;
    this.#world.emit({ type: "message_heard", life: this.#life, number: this.#read });
  }
}
