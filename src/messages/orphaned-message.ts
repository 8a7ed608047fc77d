import { assert } from "../base/assert.ts";
import type { ChannelState, ChannelStep } from "./channel-state.ts";
import { ACK_CR, ACK_EX, MESSAGE_NL, send } from "./channel-steps.ts";
import type { ClusterMessage, MessageId } from "./message.ts";
import type { MessageFrame } from "./message-codec.ts";

/**
 * A message whose sender died is heard by all or by none. All are asked for `ack` before the first can read it, but a
 * receiver that is late may find the next sender's message in its place. So `token` says which message all have heard;
 * whoever takes it and finds another one in `message` says that once more, unchanged, before anything else is said or
 * done under the token. Who has heard it skips it (docs/decisions/0033). Pure: these are steps of the channel.
 */

/** `message` is ours: has everybody heard what was said last? A node that joins need not: it reads what all have done. */
export function lookForOrphan(state: ChannelState, frame: MessageFrame | null): ChannelStep {
  const deaf = state.receiving === "deaf";
  const id = frame === null ? null : idOf(frame);
  const heard = deaf || id?.from === state.slot || sameMessage(id, state.last);
  const looked: ChannelState = deaf && id !== null ? { ...state, last: id } : state;
  if (frame === null || sameMessage(id, state.settled.known) || frame.message.type === "unknown") return held(looked);
  const orphan = { frame: { ...frame, orphaned: true as const }, isNew: !heard };
  if (heard) return repeat({ ...looked, orphan });
  const { message } = frame;
  return [{ ...looked, orphan, sending: "hearing", last: id }, [{ type: "deliver", message, orphaned: true }]];
}

/** Says it to the others. */
export function repeat(state: ChannelState): ChannelStep {
  assert(state.orphan !== null, "nothing is to be said again");
  const { frame } = state.orphan;
  return [{ ...state, sending: "repeating", armed: false }, send({ lock: "message", mode: "CW", frame }, ACK_EX)];
}

/** All have acknowledged it. */
export const closeRepeated = (state: ChannelState): ChannelStep => [
  { ...state, sending: "closing_repeated" },
  send(ACK_CR, MESSAGE_NL),
];

/** They know that all have. */
export function endRepeated(state: ChannelState): ChannelStep {
  assert(state.orphan !== null, "nothing was said again");
  const { frame, isNew } = state.orphan;
  const known: ChannelState = { ...state, orphan: null, settled: { ...state.settled, known: idOf(frame) } };
  return isNew ? [{ ...known, sending: "settling" }, [{ type: "settle" }]] : held(known);
}

export const held = (state: ChannelState): ChannelStep => [{ ...state, sending: "held" }, [{ type: "token_held" }]];

/**
 * Was this frame heard already? What is said again may be older than what we have heard since, where the lock server has
 * lost what it knew; the next message of all has another number than the last, and that may be all that is known of it.
 */
export function isRepeated(state: ChannelState, { message, sequence, orphaned }: MessageFrame): boolean {
  if (sameMessage(state.last, { from: message.from, sequence })) return true;
  return orphaned === true && (state.used - sequence) >>> 0 < HALF;
}

const HALF = 2 ** 31;

const idOf = ({ message, sequence }: { readonly message: ClusterMessage; readonly sequence: number }): MessageId => ({
  from: message.from,
  sequence,
});

const sameMessage = (a: MessageId | null, b: MessageId | null): boolean =>
  a !== null && b !== null && a.from === b.from && a.sequence === b.sequence;
