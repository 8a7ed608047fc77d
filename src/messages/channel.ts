import { assert, unreachable } from "../base/assert.ts";
import type { SlotNumber } from "../base/units.ts";
import type { LockMode } from "../dlm/lock-mode.ts";
import type { ClusterMessage } from "./message.ts";
import type { MessageFrame } from "./message-codec.ts";

/**
 * The three locks that carry a broadcast (the kernel's driver-api/md/md-cluster, "messages"). A node opens each once,
 * in NL, and from then on only converts. At rest it holds `ack` in CR. Whoever has `token` in EX may speak:
 *
 *     sender      message NL->EX, EX->CW (publishes); ack CR->EX (waits for all), EX->CR; message CW->NL
 *     receivers   bast(EX) on ack: message NL->CR (reads), process, ack CR->NL, message CR->PR (waits for the
 *                 sender to be done), ack NL->CR, message PR->NL
 *
 * Pure: every `convert` effect is answered by one `granted` event, and no lock has two conversions under way. Between
 * `token_held` and `released` nothing is delivered: what a node does under the token and what it does for a message
 * exclude each other. (While it holds the token, only a dead sender's message can ask for it, and that one can wait.)
 */
export type ChannelLock = "token" | "message" | "ack";

export type ChannelEvent =
  /** Wants the token. One at a time: only while `sending` is idle. */
  | { readonly type: "acquire" }
  /** Wants this said: only between `token_held` and `release`. */
  | { readonly type: "publish"; readonly message: ClusterMessage }
  | { readonly type: "release" }
  /** The node can process messages from now on. */
  | { readonly type: "listen" }
  /** The handler of the delivered message is done: it may be acknowledged. */
  | { readonly type: "processed" }
  | { readonly type: "bast"; readonly lock: ChannelLock; readonly wanted: LockMode }
  | {
      readonly type: "granted";
      readonly lock: ChannelLock;
      /** The mode held now: not the wanted one where the conversion was cancelled or refused. */
      readonly mode: LockMode;
      readonly value: ChannelValue | null;
    };

/** What was read from `message` with a grant. */
export interface ChannelValue {
  /** False: a sender died while it wrote. */
  readonly valid: boolean;
  /** Null: nothing was ever said, or the bytes make no sense. */
  readonly frame: MessageFrame | null;
}

export type SkipReason = "invalid" | "repeated" | "own";

export type ChannelEffect =
  | { readonly type: "convert"; readonly lock: ChannelLock; readonly mode: LockMode; readonly frame?: MessageFrame }
  | { readonly type: "deliver"; readonly message: ClusterMessage }
  /** The sender has all acknowledgements of the message delivered last, or died. */
  | { readonly type: "settled" }
  /** Read, not delivered, acknowledged all the same: the sender must not hang. */
  | { readonly type: "skip"; readonly reason: SkipReason }
  | { readonly type: "token_held" }
  /** The wait for the token was cancelled. */
  | { readonly type: "token_refused" }
  /** Every other node has processed it. */
  | { readonly type: "published" }
  | { readonly type: "released" };

type SendPhase =
  | "idle"
  | "awaiting_token"
  /** Has the token, takes `ack` for the first time: no message can be on its way at that instant. */
  | "joining"
  /** Has the token; the receive round of the message before is not over. */
  | "awaiting_quiet"
  | "held"
  | "awaiting_message"
  | "storing"
  | "awaiting_acks"
  | "rearming"
  | "closing"
  | "releasing";

/** deaf: holds `ack`, so senders wait for us, but cannot process yet. */
type ReceivePhase =
  | "joining"
  | "deaf"
  | "listening"
  | "reading"
  | "processing"
  | "acknowledging"
  | "awaiting_sender"
  | "rearming"
  | "closing";

export interface ChannelState {
  readonly slot: SlotNumber;
  readonly sending: SendPhase;
  readonly receiving: ReceivePhase;
  /** A sender asked for `ack` before we could answer; we answer as soon as we listen. */
  readonly asked: boolean;
  readonly outgoing: ClusterMessage | null;
  /** The frame seen or said last. */
  readonly last: { readonly from: SlotNumber; readonly sequence: number } | null;
}

export type ChannelStep = readonly [ChannelState, readonly ChannelEffect[]];
type Granted = ChannelEvent & { readonly type: "granted" };

export const newChannel = (slot: SlotNumber): ChannelState => ({
  slot,
  sending: "idle",
  receiving: "joining",
  asked: false,
  outgoing: null,
  last: null,
});

export function stepChannel(state: ChannelState, event: ChannelEvent): ChannelStep {
  switch (event.type) {
    case "acquire":
      assert(state.sending === "idle", "the token is wanted twice");
      return [{ ...state, sending: "awaiting_token" }, [convert("token", "EX")]];
    case "publish":
      assert(state.sending === "held", "a message is sent without the token");
      assert(state.receiving !== "joining" && state.receiving !== "deaf", "a node that does not listen must not speak");
      return [{ ...state, sending: "awaiting_message", outgoing: event.message }, [convert("message", "EX")]];
    case "release":
      assert(state.sending === "held", "the token is given back in the middle of a message");
      return [{ ...state, sending: "releasing" }, [convert("token", "NL")]];
    case "listen":
      assert(state.receiving === "deaf", "a node listens once, after it has joined");
      return listen(state);
    case "processed":
      assert(state.receiving === "processing", "a message was processed that was never delivered");
      return acknowledge(state);
    case "bast":
      return onBast(state, event.lock, event.wanted);
    case "granted":
      return onGranted(state, event);
    default:
      return unreachable(event);
  }
}

const convert = (lock: ChannelLock, mode: LockMode): ChannelEffect => ({ type: "convert", lock, mode });

/** Does a message of our own use `message` and `ack` right now? There is one handle of each. */
const publishing = (phase: SendPhase): boolean =>
  phase === "awaiting_message" ||
  phase === "storing" ||
  phase === "awaiting_acks" ||
  phase === "rearming" ||
  phase === "closing";

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
  [convert("message", "CR")],
];

/** The locks are free again: run the section that waits for this, else answer whoever asked meanwhile. */
function listen(state: ChannelState): ChannelStep {
  const listening: ChannelState = { ...state, receiving: "listening" };
  if (state.sending === "awaiting_quiet") return [{ ...listening, sending: "held" }, [{ type: "token_held" }]];
  return answerAsked(listening);
}

const answerAsked = (state: ChannelState): ChannelStep =>
  state.asked && state.receiving === "listening" && mayRead(state.sending) ? read(state) : [state, []];

function onGranted(state: ChannelState, event: Granted): ChannelStep {
  switch (event.lock) {
    case "token":
      return onToken(state, event.mode);
    case "message":
      return publishing(state.sending) ? onMessageSending(state, event) : onMessageReceiving(state, event);
    case "ack":
      return publishing(state.sending) ? onAckSending(state, event.mode) : onAckReceiving(state, event.mode);
    default:
      return unreachable(event.lock);
  }
}

function onToken(state: ChannelState, mode: LockMode): ChannelStep {
  if (state.sending === "releasing") {
    assert(mode === "NL", "the token was not given back");
    const [next, effects] = answerAsked({ ...state, sending: "idle" });
    return [next, [{ type: "released" }, ...effects]];
  }
  assert(state.sending === "awaiting_token", "the token was granted to nobody");
  if (mode !== "EX") return [{ ...state, sending: "idle" }, [{ type: "token_refused" }]];
  if (state.receiving === "joining") return [{ ...state, sending: "joining" }, [convert("ack", "CR")]];
  // A node that is still deaf processes nothing either.
  const quiet = state.receiving === "listening" || state.receiving === "deaf";
  return quiet
    ? [{ ...state, sending: "held" }, [{ type: "token_held" }]]
    : [{ ...state, sending: "awaiting_quiet" }, []];
}

function onMessageSending(state: ChannelState, event: Granted): ChannelStep {
  switch (state.sending) {
    case "awaiting_message": {
      assert(event.mode === "EX" && state.outgoing !== null, "`message` was taken with nothing to say");
      // Even an invalid block tells which numbers were used; ours only has to differ from the one before it.
      const before = Math.max(event.value?.frame?.sequence ?? 0, state.last?.sequence ?? 0);
      const frame: MessageFrame = { message: state.outgoing, sequence: (before + 1) >>> 0 };
      return [
        { ...state, sending: "storing", last: { from: state.slot, sequence: frame.sequence } },
        [{ type: "convert", lock: "message", mode: "CW", frame }],
      ];
    }
    case "storing":
      return [{ ...state, sending: "awaiting_acks" }, [convert("ack", "EX")]];
    case "closing":
      return [{ ...state, sending: "held", outgoing: null }, [{ type: "published" }]];
    default:
      throw new Error(`\`message\` was granted in ${event.mode} while ${state.sending}`);
  }
}

function onAckSending(state: ChannelState, mode: LockMode): ChannelStep {
  switch (state.sending) {
    case "awaiting_acks":
      assert(mode === "EX", "`ack` was refused");
      return [{ ...state, sending: "rearming" }, [convert("ack", "CR")]];
    case "rearming":
      return [{ ...state, sending: "closing" }, [convert("message", "NL")]];
    default:
      throw new Error(`\`ack\` was granted in ${mode} while ${state.sending}`);
  }
}

function onMessageReceiving(state: ChannelState, event: Granted): ChannelStep {
  switch (state.receiving) {
    case "reading":
      return onRead(state, event.value);
    case "awaiting_sender":
      // A refusal (a conversion deadlock with the next sender) says as well as a grant that this sender is done.
      return [{ ...state, receiving: "rearming" }, [{ type: "settled" }, convert("ack", "CR")]];
    case "closing":
      return listen(state);
    default:
      throw new Error(`\`message\` was granted in ${event.mode} while ${state.receiving}`);
  }
}

function onRead(state: ChannelState, value: ChannelValue | null): ChannelStep {
  const frame = value?.frame ?? null;
  if (value === null || !value.valid || frame === null) return skip(state, "invalid");
  const { message, sequence } = frame;
  if (message.from === state.slot) return skip(state, "own");
  if (state.last?.from === message.from && state.last.sequence === sequence) return skip(state, "repeated");
  return [
    { ...state, receiving: "processing", last: { from: message.from, sequence } },
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
  [convert("ack", "NL")],
];

function onAckReceiving(state: ChannelState, mode: LockMode): ChannelStep {
  switch (state.receiving) {
    case "joining":
      assert(mode === "CR" && state.sending === "joining", "`ack` is taken under the token");
      return [{ ...state, sending: "held", receiving: "deaf" }, [{ type: "token_held" }]];
    case "acknowledging":
      return [{ ...state, receiving: "awaiting_sender" }, [convert("message", "PR")]];
    case "rearming":
      return [{ ...state, receiving: "closing" }, [convert("message", "NL")]];
    default:
      throw new Error(`\`ack\` was granted in ${mode} while ${state.receiving}`);
  }
}
