import type { SlotNumber } from "../base/units.ts";
import type { LockMode } from "../dlm/lock-mode.ts";
import type { ClusterMessage, MessageId } from "./message.ts";
import type { MessageFrame } from "./message-codec.ts";

/** The three locks that carry a broadcast; what they do is told in channel.ts. */
export type ChannelLock = "token" | "message" | "ack";

/** Sender and receiver share the handles of `message` and `ack`; they use them in turns. */
export type ChannelHalf = "sending" | "receiving";

export interface ConvertStep {
  readonly lock: ChannelLock;
  readonly mode: LockMode;
  /** What becomes the value of `message`. */
  readonly frame?: MessageFrame;
  /** What becomes the value of `token`: the message said last, which all have heard. */
  readonly settled?: MessageId;
  /** Be refused instead of waiting. */
  readonly noqueue?: boolean;
}

export interface StepResult {
  /** The mode held now: not the wanted one where the conversion was cancelled or refused. */
  readonly mode: LockMode;
  /** Of `message`. */
  readonly value: ChannelValue | null;
  /** Of `token`; null: nobody has written one, or it is lost. */
  readonly settled?: MessageId | null;
}

/** What was read from `message` with a grant. */
export interface ChannelValue {
  /** False: a sender died while it wrote. */
  readonly valid: boolean;
  /** Null: nothing was ever said, or the bytes make no sense. */
  readonly frame: MessageFrame | null;
}

interface Outgoing {
  readonly message: ClusterMessage;
  readonly last: boolean;
  readonly settled: boolean;
}

export type ChannelEvent =
  /** Wants the token. One at a time: only while `sending` is idle. */
  | { readonly type: "acquire" }
  /**
   * Wants this said: only between `token_held` and `release`. `last`: nothing else will be done under the token, it is
   * given back with the end of the message; no `release` follows. `settled`: it counts as published when what follows
   * from everybody's acknowledgement has happened everywhere too.
   */
  | ({ readonly type: "publish" } & Outgoing)
  | { readonly type: "release" }
  /** The node can process messages from now on. */
  | { readonly type: "listen" }
  /** The handler of the delivered message is done: it may be acknowledged. */
  | { readonly type: "processed" }
  /** What was to be done when all have acknowledged is done. */
  | { readonly type: "settled" }
  | { readonly type: "bast"; readonly lock: ChannelLock; readonly wanted: LockMode }
  /** Results of the steps in their order. One that was not granted is the last. */
  | { readonly type: "converted"; readonly half: ChannelHalf; readonly results: readonly StepResult[] };

export type SkipReason = "invalid" | "repeated" | "own";

export type ChannelEffect =
  /** Each step begins when the one before was granted. */
  | { readonly type: "convert"; readonly half: ChannelHalf; readonly steps: readonly ConvertStep[] }
  /** `orphaned`: its sender died before all had heard it, and is no member any more. */
  | { readonly type: "deliver"; readonly message: ClusterMessage; readonly orphaned: boolean }
  /** The sender has all acknowledgements of the message delivered last, or died. Answered by `settled`. */
  | { readonly type: "settle" }
  /** Read, not delivered, acknowledged all the same: the sender must not hang. */
  | { readonly type: "skip"; readonly reason: SkipReason }
  | { readonly type: "token_held" }
  /** The wait for the token was cancelled. */
  | { readonly type: "token_refused" }
  /** Every other node has processed it. */
  | { readonly type: "published" }
  | { readonly type: "released" };

export type SendPhase =
  | "idle"
  /** Asks for the token without waiting, and for `message` with it. */
  | "trying"
  | "awaiting_token"
  /** Takes the token and then, for the first time, `ack`: no message can be on its way at that instant. */
  | "joining"
  /** Has the token; the receive round of the message before is not over. */
  | "awaiting_quiet"
  /** Has the token; wants `message`, to see whether all have heard what was said last. */
  | "arming"
  /** Not all have, and not we: it is processed here first, then said again, then settled here. */
  | "hearing"
  | "repeating"
  | "closing_repeated"
  | "settling"
  | "held"
  | "awaiting_message"
  | "awaiting_acks"
  | "closing"
  /** Wants `message` again, which the last receiver lets go of when it has settled. */
  | "awaiting_settled"
  | "releasing";

/** deaf: holds `ack`, so senders wait for us, but cannot process yet. */
type ReceivePhase =
  | "joining"
  | "deaf"
  | "listening"
  | "reading"
  | "processing"
  | "acknowledging"
  | "settling"
  | "rearming"
  | "closing";

export interface ChannelState {
  readonly slot: SlotNumber;
  readonly sending: SendPhase;
  readonly receiving: ReceivePhase;
  /** A sender asked for `ack` before we could answer; we answer as soon as we listen. */
  readonly asked: boolean;
  /** We hold `message` in EX: what to say can be said at once. */
  readonly armed: boolean;
  readonly outgoing: Outgoing | null;
  /** A dead sender's message that we say again. `isNew`: we had not heard it either. */
  readonly orphan: { readonly frame: MessageFrame; readonly isNew: boolean } | null;
  /** What the value block of `token` says, and what it is to say: the message said last that all have heard. */
  readonly settled: { readonly written: MessageId | null; readonly known: MessageId | null };
  /** The frame seen or said last. */
  readonly last: MessageId | null;
  /** The highest sequence number that we know of. */
  readonly used: number;
}

export type ChannelStep = readonly [ChannelState, readonly ChannelEffect[]];

export const newChannel = (slot: SlotNumber): ChannelState => ({
  slot,
  sending: "idle",
  receiving: "joining",
  asked: false,
  armed: false,
  outgoing: null,
  orphan: null,
  settled: { written: null, known: null },
  last: null,
  used: 0,
});
