import { AssertionError, assert } from "../base/assert.ts";
import { MdError } from "../base/md-error.ts";
import type { Grant, Lock, Lockspace } from "../dlm/lockspace.ts";
import type { Env } from "../env/env.ts";
import { stepChannel } from "./channel.ts";
import {
  type ChannelEffect,
  type ChannelEvent,
  type ChannelLock,
  type ChannelState,
  type ConvertStep,
  newChannel,
  type StepResult,
} from "./channel-state.ts";
import type { ClusterMessage } from "./message.ts";
import { decodeFrame, encodeFrame } from "./message-codec.ts";
import { MessageCounters, type MessageStatistics } from "./message-statistics.ts";

/** What is left to do once *all* nodes have processed a message (or its sender died). Must not wait for anything. */
export type AfterAll = () => void;

/**
 * Carries a message out on this node. The sender waits for it on every node: it must not wait for the token, and what
 * it throws is logged, counted and acknowledged like success, unless it has broken the bus. Never runs while a section
 * of this node does.
 */
export type MessageHandler = (message: ClusterMessage) => Promise<AfterAll | null>;

/** Says `message` to all other nodes; resolves when each of them has processed it. Valid inside its section only. */
export type Send = (message: ClusterMessage) => Promise<void>;

interface Section {
  readonly run: () => Promise<void>;
  readonly refuse: (error: unknown) => void;
  readonly signal: AbortSignal | undefined;
}

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
  readonly #lockspace: Lockspace;
  readonly #locks: Readonly<Record<ChannelLock, Lock>>;
  readonly #counters = new MessageCounters();
  readonly #sections: Section[] = [];
  #state: ChannelState;
  #current: Section | null = null;
  /** Does `#current` have the token? */
  #running = false;
  /** The token is given back without a `release`, and is so already. */
  #releasing = false;
  #isReleased = false;
  #publishing: (Waiter & { readonly message: ClusterMessage; readonly since: number }) | null = null;
  #tokenWait: { readonly signal: AbortSignal; readonly giveUp: () => void; readonly forget: () => void } | null = null;
  readonly #givingBack = new Set<Promise<unknown>>();
  #broken: MdError | null = null;
  #afterAll: AfterAll | null = null;

  /** Opens the three locks, in NL. Nothing can be said or heard before `join`. */
  static async open(lockspace: Lockspace, env: Env, handler: MessageHandler): Promise<MessageBus> {
    let bus: MessageBus | null = null;
    const token = await lockspace.open("token", { lvb: false });
    const message = await lockspace.open("message", { lvb: true });
    const ack = await lockspace.open("ack", {
      lvb: false,
      onBast: (wanted) => {
        if (bus !== null) bus.#dispatch({ type: "bast", lock: "ack", wanted });
      },
    });
    bus = new MessageBus(lockspace, env, handler, { token, message, ack });
    return bus;
  }

  private constructor(
    lockspace: Lockspace,
    env: Env,
    handler: MessageHandler,
    locks: Readonly<Record<ChannelLock, Lock>>,
  ) {
    this.#env = env;
    this.#handler = handler;
    this.#lockspace = lockspace;
    this.#locks = locks;
    this.#state = newChannel(lockspace.slot);
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
    return this.#enqueue(() => section((message) => this.#publish(message, false)), signal);
  }

  /** Says what `build` returns once the token is held; null: it is not worth saying any more. */
  send(build: () => ClusterMessage | null, signal?: AbortSignal): Promise<void> {
    return this.#enqueue(async () => {
      const message = build();
      if (message !== null) await this.#publish(message, true);
    }, signal);
  }

  get statistics(): MessageStatistics {
    return this.#counters.read();
  }

  /** For people: what the two halves of the channel are doing. */
  get phase(): { readonly sending: string; readonly receiving: string } {
    return { sending: this.#state.sending, receiving: this.#state.receiving };
  }

  /** Ends every wait with `error`; nothing is said or heard any more. */
  break(error: MdError): void {
    if (this.#broken !== null) return;
    this.#broken = error;
    this.#publishing?.reject(error);
    this.#publishing = null;
    for (const section of this.#sections.splice(0)) section.refuse(error);
    // A section that runs finds out by itself, when it wants to say something.
    if (!this.#running) this.#current?.refuse(error);
  }

  /** Gives the locks up: other nodes no longer wait for us. */
  async close(): Promise<void> {
    this.break(new MdError("E_NOT_JOINED", "this node is leaving the array"));
    this.#tokenWait?.giveUp();
    // What is being given back in several steps is not torn apart.
    await Promise.all(this.#givingBack);
    await Promise.all(Object.values(this.#locks).map((lock) => lock.close()));
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
      this.#sections.push({ run, refuse: reject, signal });
      this.#startSection();
    });
  }

  #startSection(): void {
    if (this.#broken !== null || this.#current !== null || this.#state.sending !== "idle") return;
    const section = this.#sections.shift();
    if (section === undefined) return;
    if (section.signal?.aborted) {
      section.refuse(cancelled());
      this.#startSection();
      return;
    }
    const wait = new AbortController();
    const abort = (): void => wait.abort();
    section.signal?.addEventListener("abort", abort);
    this.#current = section;
    const forget = (): void => section.signal?.removeEventListener("abort", abort);
    this.#tokenWait = { signal: wait.signal, giveUp: abort, forget };
    this.#dispatch({ type: "acquire" });
  }

  /** `last`: the token is given back with the end of the message. */
  #publish(message: ClusterMessage, last: boolean): Promise<void> {
    if (this.#broken !== null) return Promise.reject(this.#broken);
    return new Promise((resolve, reject) => {
      assert(this.#publishing === null, "a section says one message at a time");
      this.#publishing = { message, since: this.#env.clock.now(), resolve, reject };
      this.#releasing = last;
      this.#dispatch({ type: "publish", message, last });
    });
  }

  #dispatch(event: ChannelEvent): void {
    if (this.#broken !== null) return;
    const [state, effects] = stepChannel(this.#state, event);
    this.#state = state;
    for (const effect of effects) this.#perform(effect);
  }

  #perform(effect: ChannelEffect): void {
    switch (effect.type) {
      case "convert":
        void this.#convert(effect);
        break;
      case "deliver":
        void this.#deliver(effect.message);
        break;
      case "settled":
        this.#afterAll?.();
        this.#afterAll = null;
        break;
      case "skip":
        this.#counters.countSkipped(effect.reason);
        break;
      case "token_held":
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
    const signal = waits ? this.#tokenWait?.signal : undefined;
    try {
      const conversions = steps.map(({ lock, frame, ...step }) => ({
        ...step,
        lock: this.#locks[lock],
        ...(frame === undefined ? {} : { lvb: encodeFrame(frame) }),
      }));
      const converting = this.#lockspace.convertAll(conversions, signal);
      if (steps.every(givesBack)) this.#remember(converting);
      const grants = await converting;
      this.#dispatch({ type: "converted", half, results: grants.map(resultOf) });
    } catch (error) {
      this.#fail(error);
    }
  }

  #remember(converting: Promise<unknown>): void {
    const done: Promise<unknown> = converting.then(
      () => this.#givingBack.delete(done),
      () => this.#givingBack.delete(done),
    );
    this.#givingBack.add(done);
  }

  async #deliver(message: ClusterMessage): Promise<void> {
    this.#counters.countReceived(message.type);
    this.#env.log.trace({ evt: "message", ...message }, `${message.type} from slot ${message.from}`);
    try {
      this.#afterAll = await this.#handler(message);
    } catch (error) {
      if (error instanceof AssertionError) throw error;
      this.#counters.countHandlerError();
      this.#env.log.error(
        { evt: "message-error", type: message.type, err: String(error) },
        "a message could not be carried out",
      );
    }
    this.#dispatch({ type: "processed" });
  }

  async #runSection(): Promise<void> {
    this.#running = true;
    await this.#current?.run();
    this.#running = false;
    if (this.#isReleased) this.#endSection();
    else if (!this.#releasing) this.#dispatch({ type: "release" });
  }

  #endSection(): void {
    this.#current = null;
    this.#releasing = false;
    this.#isReleased = false;
    this.#tokenWait?.forget();
    this.#tokenWait = null;
    this.#startSection();
  }

  #endPublishing(): void {
    const done = this.#publishing;
    assert(done !== null, "a message was acknowledged that nobody sent");
    this.#publishing = null;
    this.#counters.countSent(done.message.type, this.#env.clock.now() - done.since);
    done.resolve();
  }

  #fail(error: unknown): void {
    // A contradiction ends the process; only what a lock server can do to us is survived.
    if (error instanceof AssertionError) throw error;
    this.break(
      error instanceof MdError
        ? error
        : new MdError("E_INTERNAL", "the message channel failed", { why: String(error), cause: error }),
    );
  }
}

/** To what a node at rest holds: nobody has to be waited for. */
const givesBack = ({ lock, mode }: ConvertStep): boolean => mode === (lock === "ack" ? "CR" : "NL");

const resultOf = ({ mode, lvb, lvbValid }: Grant): StepResult => ({
  mode,
  value: lvb === null ? null : { valid: lvbValid, frame: decodeFrame(lvb) },
});

const cancelled = (): MdError => new MdError("E_CANCELLED", "the wait for the token was cancelled");
