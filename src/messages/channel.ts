import { assert, unreachable } from "../base/assert.ts";
import type { LockMode } from "../dlm/lock-mode.ts";
import type {
  ChannelEffect,
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
import type { MessageFrame } from "./message-codec.ts";

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
 * A sender who wants to know that this has happened too asks for `message` once more, in EX, before it goes on.
 * Why these calls and no fewer: docs/decisions/0013-message-batches.md.
 *
 * Pure: every `convert` effect is answered by one `converted` event of the same half, and neither half has two under
 * way. Between `token_held` and `released` nothing is delivered: what a node does under the token and what it does for
 * a message exclude each other. (While it holds the token, only a dead sender's message can ask for it, and that one
 * can wait.)
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
      assert(state.receiving === "processing", "a message was processed that was never delivered");
      return acknowledge(state);
    case "settled":
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

const TOKEN_EX: ConvertStep = { lock: "token", mode: "EX" };
const TOKEN_NL: ConvertStep = { lock: "token", mode: "NL" };
const MESSAGE_EX: ConvertStep = { lock: "message", mode: "EX" };
const MESSAGE_NL: ConvertStep = { lock: "message", mode: "NL" };
const ACK_CR: ConvertStep = { lock: "ack", mode: "CR" };

const send = (...steps: ConvertStep[]): ChannelEffect[] => [{ type: "convert", half: "sending", steps }];
const receive = (...steps: ConvertStep[]): ChannelEffect => ({ type: "convert", half: "receiving", steps });

function acquire(state: ChannelState): ChannelStep {
  if (state.receiving === "joining") return [{ ...state, sending: "joining" }, send(TOKEN_EX, ACK_CR)];
  // With a wait in front of it `message` must not be asked for: while we wait, we read others' messages with it.
  if (state.receiving !== "listening" || state.asked) return awaitToken(state);
  return [{ ...state, sending: "trying" }, send({ ...TOKEN_EX, noqueue: true }, MESSAGE_EX)];
}

const awaitToken = (state: ChannelState): ChannelStep => [{ ...state, sending: "awaiting_token" }, send(TOKEN_EX)];

const publish = (state: ChannelState): ChannelStep =>
  state.armed ? say(state) : [{ ...state, sending: "awaiting_message" }, send(MESSAGE_EX)];

const release = (state: ChannelState): ChannelStep => [
  { ...state, sending: "releasing", armed: false },
  state.armed ? send(MESSAGE_NL, TOKEN_NL) : send(TOKEN_NL),
];

/** Publishes, and waits until everybody has acknowledged. */
function say(state: ChannelState): ChannelStep {
  assert(state.outgoing !== null, "`message` was taken with nothing to say");
  const sequence = (state.used + 1) >>> 0;
  const frame: MessageFrame = { message: state.outgoing.message, sequence };
  return [
    { ...state, sending: "awaiting_acks", armed: false, last: { from: state.slot, sequence }, used: sequence },
    send({ lock: "message", mode: "CW", frame }, { lock: "ack", mode: "EX" }),
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
  if (state.sending === "awaiting_quiet") return [{ ...listening, sending: "held" }, [{ type: "token_held" }]];
  return answerAsked(listening);
}

const answerAsked = (state: ChannelState): ChannelStep =>
  state.asked && state.receiving === "listening" && mayRead(state.sending) ? read(state) : [state, []];

function onSent(state: ChannelState, results: Results): ChannelStep {
  const reached = results.at(-1);
  assert(reached !== undefined, "a conversion without a result");
  switch (state.sending) {
    case "trying": {
      if (results.length === 2) {
        // The wait may be given up when the token is ours already: `message` is asked for again when it is needed.
        const armed = reached.mode === "EX" ? arm(state, reached) : state;
        return [{ ...armed, sending: "held" }, [{ type: "token_held" }]];
      }
      assert(reached.mode === "NL", "the token was granted, and `message` not asked for");
      const [waiting, effects] = awaitToken(state);
      const [next, answers] = answerAsked(waiting);
      return [next, [...effects, ...answers]];
    }
    case "joining":
      if (results.length === 1) return refused(state);
      assert(reached.mode === "CR", "`ack` is taken under the token");
      return [{ ...state, sending: "held", receiving: "deaf" }, [{ type: "token_held" }]];
    case "awaiting_token": {
      if (reached.mode !== "EX") return refused(state);
      // A node that is still deaf processes nothing either.
      const quiet = state.receiving === "listening" || state.receiving === "deaf";
      return quiet
        ? [{ ...state, sending: "held" }, [{ type: "token_held" }]]
        : [{ ...state, sending: "awaiting_quiet" }, []];
    }
    case "awaiting_message":
      return say(arm(state, reached));
    case "awaiting_acks": {
      assert(results.length === 2 && reached.mode === "EX", "`ack` was refused");
      // They must hear soon that all have acknowledged: nothing that the section does next is waited for.
      const closing: ChannelState = { ...state, sending: "closing" };
      if (state.outgoing?.last !== true) return [closing, send(ACK_CR, MESSAGE_NL)];
      return [closing, [{ type: "published" }, ...send(ACK_CR, MESSAGE_NL, TOKEN_NL)]];
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
  if (state.last?.from === message.from && state.last.sequence === sequence) return skip(state, "repeated");
  return [
    { ...state, receiving: "processing", last: { from: message.from, sequence }, used: sequence },
    [{ type: "deliver", message }],
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
