import type { SkipReason } from "./channel-state.ts";
import type { ClusterMessageType } from "./message.ts";
import type { MessageTiming } from "./message-times.ts";

/** Counts for `mdctl messages`. A value taken from the live counters: it does not change later. */
export interface MessageStatistics {
  readonly sent: Readonly<Partial<Record<ClusterMessageType, number>>>;
  /** Delivered to a handler. */
  readonly received: Readonly<Partial<Record<ClusterMessageType, number>>>;
  /** Read but not delivered, by reason; acknowledged all the same. */
  readonly skipped: Readonly<Record<SkipReason, number>>;
  /** Of ours that some other node did not carry out, and of others' that this node did not. */
  readonly refused: Readonly<Partial<Record<ClusterMessageType, number>>>;
  readonly failed: Readonly<Partial<Record<ClusterMessageType, number>>>;
  /** The last refusal that we met, in words. */
  readonly lastRefusal: string | null;
  /** Milliseconds from having the token until all have acknowledged, of the message sent last. */
  readonly lastRoundTripMs: number | null;
  /** Of our last messages, the newest last. */
  readonly last: readonly MessageTiming[];
}

export class MessageCounters {
  readonly #sent: Partial<Record<ClusterMessageType, number>> = {};
  readonly #received: Partial<Record<ClusterMessageType, number>> = {};
  readonly #skipped: Record<SkipReason, number> = { invalid: 0, repeated: 0, own: 0 };
  readonly #refused: Partial<Record<ClusterMessageType, number>> = {};
  readonly #failed: Partial<Record<ClusterMessageType, number>> = {};
  #lastRefusal: string | null = null;
  #lastRoundTripMs: number | null = null;

  countSent(type: ClusterMessageType, roundTripMs: number): void {
    this.#sent[type] = (this.#sent[type] ?? 0) + 1;
    this.#lastRoundTripMs = roundTripMs;
  }

  countReceived(type: ClusterMessageType): void {
    this.#received[type] = (this.#received[type] ?? 0) + 1;
  }

  countSkipped(reason: SkipReason): void {
    this.#skipped[reason]++;
  }

  countRefused(type: ClusterMessageType, text: string): void {
    this.#refused[type] = (this.#refused[type] ?? 0) + 1;
    this.#lastRefusal = text;
  }

  countFailed(type: ClusterMessageType): void {
    this.#failed[type] = (this.#failed[type] ?? 0) + 1;
  }

  read(): Omit<MessageStatistics, "last"> {
    return {
      sent: { ...this.#sent },
      received: { ...this.#received },
      skipped: { ...this.#skipped },
      refused: { ...this.#refused },
      failed: { ...this.#failed },
      lastRefusal: this.#lastRefusal,
      lastRoundTripMs: this.#lastRoundTripMs,
    };
  }
}
