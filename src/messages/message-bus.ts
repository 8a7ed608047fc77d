import { AssertionError, assert } from "../base/assert.ts";
import { MdError } from "../base/md-error.ts";
import type { Lockspace } from "../dlm/lockspace.ts";
import type { Env } from "../env/env.ts";
import { StepTrace } from "../env/step-trace.ts";
import { stepChannel } from "./channel.ts";
import { ChannelLocks } from "./channel-locks.ts";
import { type ChannelEffect, type ChannelEvent, type ChannelState, newChannel } from "./channel-state.ts";
import { type ClusterMessage, type MessageId, mayBeRefused } from "./message.ts";
import { MessageCounters, type MessageStatistics } from "./message-statistics.ts";
import { MessageTimes } from "./message-times.ts";
import { ResultBoard } from "./result-board.ts";
import { TokenSection } from "./token-section.ts";

/**
 * What is left to do once *all* nodes have processed a message (or its sender died). Nobody says anything before it has
 * happened: it must not wait for other nodes, and never rejects.
 */
export type AfterAll = () => Promise<void>;

/**
 * Carries a message out on this node. The sender waits for it on every node: it must not wait for the token. An MdError
 * is a refusal: nothing of the message has happened here, it is acknowledged all the same, and its sender learns of it,
 * if it is of a type that may be refused. Never runs while a section of this node does. `orphaned`: the sender died
 * before all had heard it, and others may have noticed that, and cleared up after it, already.
 */
export type MessageHandler = (message: ClusterMessage, orphaned: boolean) => Promise<AfterAll | null>;

/**
 * Says `message` to all other nodes; resolves when each of them has processed it, rejects with the first refusal when all
 * have answered and somebody did not carry it out. `settled`: resolves only when what follows from that (`AfterAll`) has
 * happened on each of them too, one round trip later. Valid inside its section only.
 */
export type Send = (message: ClusterMessage, settled?: "settled") => Promise<void>;

interface Waiter {
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Totally ordered broadcast over the locks of a lockspace: the shell of `channel.ts`. Sections that hold the token run
 * one at a time, in the order asked for, here and in the whole cluster.
 */
export class MessageBus {
  readonly #env: Env;
  readonly #handler: MessageHandler;
  readonly #slot: Lockspace["slot"];
  readonly #locks: ChannelLocks;
  readonly #results: ResultBoard;
  readonly #counters = new MessageCounters();
  readonly #times: MessageTimes;
  readonly #trace: StepTrace<ChannelState, ChannelEvent, ChannelEffect>;
  readonly #sections: TokenSection[] = [];
  #state: ChannelState;
  #current: TokenSection | null = null;
  /** Does `#current` have the token? */
  #running = false;
  /** The token is given back without a `release`, and is so already. */
  #releasing = false;
  #isReleased = false;
  #publishing: (Waiter & { readonly message: ClusterMessage; readonly since: number }) | null = null;
  #broken: MdError | null = null;
  #afterAll: AfterAll | null = null;

  /** Opens the three locks, in NL. Nothing can be said or heard before `join`. */
  static async open(lockspace: Lockspace, env: Env, handler: MessageHandler): Promise<MessageBus> {
    let bus: MessageBus | null = null;
    const locks = await ChannelLocks.open(lockspace, (wanted) => {
      if (bus !== null) bus.#dispatch({ type: "bast", lock: "ack", wanted });
    });
    bus = new MessageBus(lockspace, env, handler, locks);
    return bus;
  }

  private constructor(lockspace: Lockspace, env: Env, handler: MessageHandler, locks: ChannelLocks) {
    this.#env = env;
    this.#handler = handler;
    this.#slot = lockspace.slot;
    this.#locks = locks;
    this.#results = new ResultBoard(lockspace);
    this.#times = new MessageTimes(env, lockspace);
    this.#state = newChannel(lockspace.slot);
    this.#trace = new StepTrace(env, "channel");
    this.traceState();
  }

  /**
   * Becomes a receiver, under the token, so that no message is on its way at that instant, and runs `section` before
   * the token is given back. From now on senders wait for us; they are answered from `listen` on.
   */
  join<T>(section: () => Promise<T>): Promise<T> {
    assert(this.#state.receiving === "joining", "a node joins once");
    return this.#enqueue(section, undefined);
  }

  listen(): void {
    this.#dispatch({ type: "listen" });
  }

  /**
   * Runs `section` while this node alone in the cluster holds the token. What was decided before must be looked at again
   * inside: other nodes' messages were processed during the wait. Rejects with what `section` throws, with E_CANCELLED
   * when `signal` ends the wait, with E_LOCK_SERVICE_LOST or the like when the bus is broken.
   */
  withToken<T>(section: (send: Send) => Promise<T>, signal?: AbortSignal): Promise<T> {
    return this.#enqueue(
      () => section((message, settled) => this.#say(message, { settled: settled !== undefined })),
      signal,
    );
  }

  /** Says what `build` returns once the token is held; null: it is not worth saying any more. Rejects as `Send` does. */
  send(build: () => ClusterMessage | null, signal?: AbortSignal): Promise<void> {
    return this.#enqueue(async () => {
      const message = build();
      if (message !== null) await this.#say(message, { last: true });
    }, signal);
  }

  get statistics(): MessageStatistics {
    return { ...this.#counters.read(), last: this.#times.last };
  }

  /** For people: what the two halves of the channel are doing. */
  get phase(): { readonly sending: string; readonly receiving: string } {
    return { sending: this.#state.sending, receiving: this.#state.receiving };
  }

  /** A recording begins here. */
  traceState(): void {
    this.#trace.began(this.#state);
  }

  /** Ends every wait with `error`; nothing is said or heard any more. */
  break(error: MdError): void {
    if (this.#broken !== null) return;
    this.#broken = error;
    this.#times.stop();
    this.#publishing?.reject(error);
    this.#publishing = null;
    for (const section of this.#sections.splice(0)) section.refuse(error);
    // A section that runs finds out by itself, when it wants to say something.
    if (!this.#running) this.#current?.refuse(error);
  }

  /** Gives the locks up: other nodes no longer wait for us. */
  async close(): Promise<void> {
    this.break(new MdError("E_NOT_JOINED", "this node is leaving the array"));
    this.#current?.giveUp();
    await this.#locks.close();
    await this.#results.close();
  }

  #enqueue<T>(body: () => Promise<T>, signal: AbortSignal | undefined): Promise<T> {
    if (this.#broken !== null) return Promise.reject(this.#broken);
    return new Promise<T>((resolve, reject) => {
      const run = async (): Promise<void> => {
        try {
          resolve(await body());
        } catch (error) {
          reject(error);
        }
      };
      this.#sections.push(new TokenSection(run, reject, signal));
      this.#startSection();
    });
  }

  #startSection(): void {
    if (this.#broken !== null || this.#current !== null || this.#state.sending !== "idle") return;
    const section = this.#sections.shift();
    if (section === undefined) return;
    if (section.isCancelled) {
      section.refuse(cancelled());
      this.#startSection();
      return;
    }
    section.begin();
    this.#current = section;
    this.#times.tokenAsked();
    this.#dispatch({ type: "acquire" });
  }

  /** `last`: nothing else is done under the token. Then it goes back with the message, unless answers are to be read. */
  async #say(message: ClusterMessage, { last = false, settled = false }): Promise<void> {
    const asks = mayBeRefused(message);
    await this.#publish(message, last && !asks, settled);
    if (!asks) return;
    const refused = await this.#results.refusalOf(this.#idOfLast(this.#slot), message.type.toUpperCase());
    if (refused === null) return;
    this.#counters.countRefused(message.type, refused.message);
    throw refused;
  }

  /** `last`: the token is given back with the end of the message. */
  #publish(message: ClusterMessage, last: boolean, settled: boolean): Promise<void> {
    if (this.#broken !== null) return Promise.reject(this.#broken);
    return new Promise((resolve, reject) => {
      assert(this.#publishing === null, "a section says one message at a time");
      this.#publishing = { message, since: this.#env.clock.now(), resolve, reject };
      this.#releasing = last;
      this.#times.beginning(this.#state.armed);
      this.#dispatch({ type: "publish", message, last, settled });
    });
  }

  #dispatch(event: ChannelEvent): void {
    if (this.#broken !== null) return;
    const [state, effects] = stepChannel(this.#state, event);
    this.#state = state;
    this.#trace.took(event, effects);
    for (const effect of effects) this.#perform(effect);
  }

  #perform(effect: ChannelEffect): void {
    switch (effect.type) {
      case "convert":
        void this.#convert(effect);
        break;
      case "deliver":
        void this.#deliver(effect.message, effect.orphaned);
        break;
      case "settle":
        void this.#settle();
        break;
      case "skip":
        this.#counters.countSkipped(effect.reason);
        break;
      case "token_held":
        this.#times.tokenHeld();
        void this.#runSection();
        break;
      case "token_refused":
        this.#current?.refuse(cancelled());
        this.#endSection();
        break;
      case "published":
        this.#endPublishing();
        break;
      case "released":
        this.#isReleased = true;
        if (!this.#running) this.#endSection();
        break;
    }
  }

  async #convert({ half, steps }: ChannelEffect & { readonly type: "convert" }): Promise<void> {
    // Only the wait for the token can be given up.
    const waits = half === "sending" && steps[0]?.lock === "token" && steps[0].mode === "EX";
    const signal = waits ? this.#current?.waitSignal : undefined;
    if (this.#publishing !== null && steps[0]?.mode === "CW") this.#times.published();
    try {
      this.#dispatch({ type: "converted", half, results: await this.#locks.convert(steps, signal) });
    } catch (error) {
      this.#fail(error);
    }
  }

  async #deliver(message: ClusterMessage, orphaned: boolean): Promise<void> {
    this.#counters.countReceived(message.type);
    this.#env.log.trace({ evt: "message", ...message }, `${message.type} from slot ${message.from}`);
    try {
      this.#afterAll = await this.#handler(message, orphaned);
    } catch (error) {
      if (error instanceof AssertionError) throw error;
      const reason = error instanceof MdError ? error : new MdError("E_INTERNAL", String(error));
      if (this.#broken === null) await this.#refuse(message, reason);
    }
    this.#dispatch({ type: "processed" });
  }

  async #settle(): Promise<void> {
    const afterAll = this.#afterAll;
    this.#afterAll = null;
    if (afterAll !== null) await afterAll();
    this.#dispatch({ type: "settled" });
  }

  async #refuse(message: ClusterMessage, error: MdError): Promise<void> {
    this.#counters.countFailed(message.type);
    const fields = { evt: "message-refused", type: message.type, from: message.from, code: error.code };
    this.#env.log.error({ ...fields, err: error.message }, `${message.type} is not carried out here`);
    try {
      await this.#results.refuse(this.#idOfLast(message.from), error);
    } catch (lost) {
      this.#fail(lost);
    }
  }

  /** Of the message that was sent or received last. */
  #idOfLast(from: MessageId["from"]): MessageId {
    const { last } = this.#state;
    assert(last?.from === from, "another message was said meanwhile");
    return { from, sequence: last.sequence };
  }

  async #runSection(): Promise<void> {
    this.#running = true;
    await this.#current?.run();
    this.#running = false;
    if (this.#isReleased) this.#endSection();
    else if (!this.#releasing) this.#dispatch({ type: "release" });
  }

  #endSection(): void {
    this.#current?.end();
    this.#current = null;
    this.#releasing = false;
    this.#isReleased = false;
    this.#startSection();
  }

  #endPublishing(): void {
    const done = this.#publishing;
    assert(done !== null, "a message was acknowledged that nobody sent");
    this.#publishing = null;
    this.#counters.countSent(done.message.type, this.#env.clock.now() - done.since);
    this.#times.acknowledged(done.message.type);
    done.resolve();
  }

  #fail(error: unknown): void {
    // Only what a lock server can do to us is survived. After anything else the process ends: a channel that is merely
    // broken would keep the locks that it holds, the token among them, from all others.
    if (!(error instanceof MdError)) throw error;
    this.break(error);
  }
}

const cancelled = (): MdError => new MdError("E_CANCELLED", "the wait for the token was cancelled");
