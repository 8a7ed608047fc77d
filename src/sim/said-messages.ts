import type { MessageFrame } from "../messages/message-codec.ts";

/**
 * A number for each message of a world. The frames' own numbers begin anew when a lockspace does; this knows which
 * message a frame is of: the one that was said last under its sender and number.
 */
export class SaidMessages {
  readonly #byFrame = new Map<string, number>();
  #last = 0;

  /** A frame is published; one that is said again is still the same message. */
  begin(frame: MessageFrame): number {
    const said = frame.orphaned === true ? this.numberOf(frame) : null;
    if (said !== null) return said;
    this.#last++;
    this.#byFrame.set(keyOf(frame), this.#last);
    return this.#last;
  }

  /** The message that a frame is of; null: nobody has said it. */
  numberOf(frame: MessageFrame): number | null {
    return this.#byFrame.get(keyOf(frame)) ?? null;
  }
}

const keyOf = ({ message, sequence }: MessageFrame): string => `${message.from}/${sequence}`;
