import type { SkipReason } from "./channel-state.ts";
import type { ClusterMessageType } from "./message.ts";

/** Counts for `mdctl messages`. A value taken from the live counters: it does not change later. */
export interface MessageStatistics {
  readonly sent: Readonly<Partial<Record<ClusterMessageType, number>>>;
  /** Delivered to a handler (or `unknown`: counted and acknowledged only). */
  readonly received: Readonly<Partial<Record<ClusterMessageType, number>>>;
  /** Read but not delivered, by reason; acknowledged all the same. */
  readonly skipped: Readonly<Record<SkipReason, number>>;
  /** A handler threw: acknowledged all the same. */
  readonly handlerErrors: number;
  /** Milliseconds from having the token until all have acknowledged, of the message sent last. */
  readonly lastRoundTripMs: number | null;
}

export class MessageCounters {
  readonly #sent: Partial<Record<ClusterMessageType, number>> = {};
  readonly #received: Partial<Record<ClusterMessageType, number>> = {};
  readonly #skipped: Record<SkipReason, number> = { invalid: 0, repeated: 0, own: 0 };
  #handlerErrors = 0;
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

  countHandlerError(): void {
    this.#handlerErrors++;
  }

  read(): MessageStatistics {
    return {
      sent: { ...this.#sent },
      received: { ...this.#received },
      skipped: { ...this.#skipped },
      handlerErrors: this.#handlerErrors,
      lastRoundTripMs: this.#lastRoundTripMs,
    };
  }
}
