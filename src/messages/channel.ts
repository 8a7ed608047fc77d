import { assert, unreachable } from "../base/assert.ts";
import type { LockMode } from "../dlm/lock-mode.ts";
import type {
  ChannelEvent,
  ChannelLock,
  ChannelState,
  ChannelStep,
  ChannelValue,
  ConvertStep,
  SendPhase,
  SkipReason,
  StepResult,
} from "./channel-state.ts";
import { ACK_CR, ACK_EX, MESSAGE_EX, MESSAGE_NL, receive, send, TOKEN_EX, TOKEN_NL } from "./channel-steps.ts";
import type { MessageFrame } from "./message-codec.ts";
import { closeRepeated, endRepeated, held, isRepeated, lookForOrphan, repeat } from "./orphaned-message.ts";

type Results = readonly StepResult[];

/**
 * The three locks that carry a broadcast (the kernel's driver-api/md/md-cluster, "messages"). A node opens each once,
 * in NL, and from then on only converts. At rest it holds `ack` in CR. Whoever has `token` in EX may speak. What stands
 * in brackets is one call to the lock server:
 *
 *     sender      [token EX, message EX]   [message CW (publishes), ack EX (waits for all)]   [ack CR, message NL, token NL]
 *     receivers   bast(EX) on ack: [message CR (reads)], process, [ack NL, message PR (waits until the sender is done)],
 *                 what follows from everybody's acknowledgement, [ack CR], [message NL]
 *
 * A sender who wants to know that this has happened too asks for `message` once more, in EX, before it goes on. With
 * `token` it gives back which message all have heard (orphaned-message.ts).
 * Why these calls and no fewer: docs/decisions/0013-message-batches.md.
 *
 * Pure: every `convert` effect is answered by one `converted` event of the same half, and neither half has two under
 * way. Between `token_held` and `released` nothing is delivered: what a node does under the token and what it does for
 * a message exclude each other. (While it holds the token, only a dead sender's message can ask for it, and that one
 * was said again before: orphaned-message.ts.)
 */
export function stepChannel(state: ChannelState, event: ChannelEvent): ChannelStep {
  switch (event.type) {
    case "acquire":
      assert(state.sending === "idle", "the token is wanted twice");
      return acquire(state);
    case "publish":
      assert(state.sending === "held", "a message is sent without the token");
      assert(state.receiving !== "joining" && state.receiving !== "deaf", "a node that does not listen must not speak");
      assert(!(event.last && event.settled), "the token does not go back before a message is settled");
      return publish({ ...state, outgoing: { message: event.message, last: event.last, settled: event.settled } });
    case "release":
      assert(state.sending === "held", "the token is given back in the middle of a message");
      return release(state);
    case "listen":
      assert(state.receiving === "deaf", "a node listens once, after it has joined");
      return listen(state);
    case "processed":
      if (state.sending === "hearing") return repeat(state);
      assert(state.receiving === "processing", "a message was processed that was never delivered");
      return acknowledge(state);
    case "settled":
      if (state.sending === "settling") return held(state);
      assert(state.receiving === "settling", "a message was settled that not everybody has acknowledged");
      return [{ ...state, receiving: "rearming" }, [receive(ACK_CR)]];
    case "bast":
      return onBast(state, event.lock, event.wanted);
    case "converted":
      return event.half === "sending" ? onSent(state, event.results) : onReceived(state, event.results);
    default:
      return unreachable(event);
  }
}

function acquire(state: ChannelState): ChannelStep {
  if (state.receiving === "joining") return [{ ...state, sending: "joining" }, send(TOKEN_EX, ACK_CR, MESSAGE_EX)];
  // With a wait in front of it `message` must not be asked for: while we wait, we read others' messages with it.
  if (state.receiving !== "listening" || state.asked) return awaitToken(state);
  return [{ ...state, sending: "trying" }, send({ ...TOKEN_EX, noqueue: true }, MESSAGE_EX)];
}

const awaitToken = (state: ChannelState): ChannelStep => [{ ...state, sending: "awaiting_token" }, send(TOKEN_EX)];

const publish = (state: ChannelState): ChannelStep =>
  state.armed ? say(state) : [{ ...state, sending: "awaiting_message" }, send(MESSAGE_EX)];

const release = (state: ChannelState): ChannelStep => [
  { ...state, sending: "releasing", armed: false },
  state.armed ? send(MESSAGE_NL, giveTokenBack(state)) : send(giveTokenBack(state)),
];

/** The next one who takes it must know what all have heard. */
const giveTokenBack = ({ settled: { known, written } }: ChannelState): ConvertStep =>
  known === null || known === written ? TOKEN_NL : { ...TOKEN_NL, settled: known };

/** Publishes, and waits until everybody has acknowledged. */
function say(state: ChannelState): ChannelStep {
  assert(state.outgoing !== null, "`message` was taken with nothing to say");
  const sequence = (state.used + 1) >>> 0 || 1;
  const frame: MessageFrame = { message: state.outgoing.message, sequence };
  return [
    { ...state, sending: "awaiting_acks", armed: false, last: { from: state.slot, sequence }, used: sequence },
    send({ lock: "message", mode: "CW", frame }, ACK_EX),
  ];
}

/** `message` is ours: whatever is said next has another number than what was said before, by whomever. */
function arm(state: ChannelState, { mode, value }: StepResult): ChannelState {
  assert(mode === "EX", "`message` was refused");
  // Even an invalid block tells which numbers were used.
  return { ...state, armed: true, used: Math.max(state.used, value?.frame?.sequence ?? 0) };
}

const mayRead = (phase: SendPhase): boolean => phase === "idle" || phase === "awaiting_token";

function onBast(state: ChannelState, lock: ChannelLock, wanted: LockMode): ChannelStep {
  // Another mode than EX is a receiver that re-arms while we still hold EX; it gets its turn by itself.
  if (lock !== "ack" || wanted !== "EX") return [state, []];
  if (state.receiving === "listening" && mayRead(state.sending)) return read(state);
  const busyWithIt =
    state.receiving === "reading" || state.receiving === "processing" || state.receiving === "acknowledging";
  return busyWithIt ? [state, []] : [{ ...state, asked: true }, []];
}

const read = (state: ChannelState): ChannelStep => [
  { ...state, receiving: "reading", asked: false },
  [receive({ lock: "message", mode: "CR" })],
];

/** The locks are free again: run the section that waits for this, else answer whoever asked meanwhile. */
function listen(state: ChannelState): ChannelStep {
  const listening: ChannelState = { ...state, receiving: "listening" };
  if (state.sending === "awaiting_quiet") return askForMessage(listening);
  return answerAsked(listening);
}

/** The token is ours, and nothing that was said before is under way here. */
const askForMessage = (state: ChannelState): ChannelStep => [{ ...state, sending: "arming" }, send(MESSAGE_EX)];

const answerAsked = (state: ChannelState): ChannelStep =>
  state.asked && state.receiving === "listening" && mayRead(state.sending) ? read(state) : [state, []];

function onSent(state: ChannelState, results: Results): ChannelStep {
  const reached = results.at(-1);
  assert(reached !== undefined, "a conversion without a result");
  switch (state.sending) {
    case "trying": {
      // The wait may be given up when the token is ours already: then `message` is asked for again.
      if (results.length === 2) return onToken(state, results);
      assert(reached.mode === "NL", "the token was granted, and `message` not asked for");
      const [waiting, effects] = awaitToken(state);
      const [next, answers] = answerAsked(waiting);
      return [next, [...effects, ...answers]];
    }
    case "joining":
      if (results.length === 1) return refused(state);
      assert(results[1]?.mode === "CR", "`ack` is taken under the token");
      return onToken({ ...state, receiving: "deaf" }, results);
    case "awaiting_token": {
      if (reached.mode !== "EX") return refused(state);
      const ours = withToken(state, reached);
      // A node that is still deaf processes nothing, and says nothing.
      if (state.receiving === "deaf") return held(ours);
      return state.receiving === "listening" ? askForMessage(ours) : [{ ...ours, sending: "awaiting_quiet" }, []];
    }
    case "arming":
      return lookForOrphan(arm(state, reached), reached.value?.frame ?? null);
    case "repeating":
      assert(results.length === 2 && reached.mode === "EX", "`ack` was refused");
      return closeRepeated(state);
    case "closing_repeated":
      assert(reached.mode === "NL", "`message` was not given back");
      return endRepeated(state);
    case "awaiting_message":
      return say(arm(state, reached));
    case "awaiting_acks": {
      assert(results.length === 2 && reached.mode === "EX", "`ack` was refused");
      // They must hear soon that all have acknowledged: nothing that the section does next is waited for.
      const settled = { ...state.settled, known: state.last };
      const closing: ChannelState = { ...state, sending: "closing", settled };
      if (state.outgoing?.last !== true) return [closing, send(ACK_CR, MESSAGE_NL)];
      return [closing, [{ type: "published" }, ...send(ACK_CR, MESSAGE_NL, giveTokenBack(closing))]];
    }
    case "closing":
      assert(reached.mode === "NL", "`message` was not given back");
      if (state.outgoing?.last === true) return released(state);
      if (state.outgoing?.settled === true) return [{ ...state, sending: "awaiting_settled" }, send(MESSAGE_EX)];
      return [{ ...state, sending: "held", outgoing: null }, [{ type: "published" }]];
    case "awaiting_settled":
      return [{ ...arm(state, reached), sending: "held", outgoing: null }, [{ type: "published" }]];
    case "releasing":
      assert(reached.mode === "NL", "the token was not given back");
      return released(state);
    default:
      throw new Error(`a conversion of the sender ended while it is ${state.sending}`);
  }
}

/** The token was granted as the first step, `message` was asked for in the last. */
function onToken(state: ChannelState, results: Results): ChannelStep {
  const [token, message] = [results[0], results.at(-1)];
  assert(token !== undefined && message !== undefined && results.length > 1, "the token without `message`");
  const ours = withToken(state, token);
  return message.mode === "EX" ? lookForOrphan(arm(ours, message), message.value?.frame ?? null) : askForMessage(ours);
}

const withToken = (state: ChannelState, { settled = null }: StepResult): ChannelState => ({
  ...state,
  settled: { written: settled, known: settled },
});

const refused = (state: ChannelState): ChannelStep => [{ ...state, sending: "idle" }, [{ type: "token_refused" }]];

function released(state: ChannelState): ChannelStep {
  const [next, effects] = answerAsked({ ...state, sending: "idle", outgoing: null });
  return [next, [{ type: "released" }, ...effects]];
}

function onReceived(state: ChannelState, results: Results): ChannelStep {
  const reached = results.at(-1);
  assert(reached !== undefined, "a conversion without a result");
  switch (state.receiving) {
    case "reading":
      return onRead(state, reached.value);
    case "acknowledging":
      assert(results.length === 2, "`ack` was not given back");
      // A refusal (a conversion deadlock with the next sender) says as well as a grant that this sender is done.
      return [{ ...state, receiving: "settling" }, [{ type: "settle" }]];
    case "rearming":
      assert(reached.mode === "CR", "`ack` was refused");
      return [{ ...state, receiving: "closing" }, [receive(MESSAGE_NL)]];
    case "closing":
      return listen(state);
    default:
      throw new Error(`a conversion of the receiver ended while it is ${state.receiving}`);
  }
}

function onRead(state: ChannelState, value: ChannelValue | null): ChannelStep {
  const frame = value?.frame ?? null;
  if (value === null || !value.valid || frame === null) return skip(state, "invalid");
  const { message, sequence } = frame;
  if (message.from === state.slot) return skip(state, "own");
  if (isRepeated(state, frame)) return skip(state, "repeated");
  return [
    { ...state, receiving: "processing", last: { from: message.from, sequence }, used: sequence },
    [{ type: "deliver", message, orphaned: frame.orphaned === true }],
  ];
}

function skip(state: ChannelState, reason: SkipReason): ChannelStep {
  const [next, effects] = acknowledge(state);
  return [next, [{ type: "skip", reason }, ...effects]];
}

/** The sender's wait for `ack` ends here: everything that the message asked for has happened on this node. */
const acknowledge = (state: ChannelState): ChannelStep => [
  { ...state, receiving: "acknowledging" },
  [receive({ lock: "ack", mode: "NL" }, { lock: "message", mode: "PR" })],
];
