import { assert } from "../base/assert.ts";
import { type Deferred, deferred } from "../base/deferred.ts";
import { MdError } from "../base/md-error.ts";
import type { LockEvent } from "./lock-call.ts";
import { lockFlag, statusFlag } from "./lock-flags.ts";
import { type LockMode, lockModes, modesCompatible } from "./lock-mode.ts";
import { lockStatus, lockStatusName } from "./lock-status.ts";
import { type ConvertOptions, type Grant, type Lock, LVB_SIZE, type OpenOptions } from "./lockspace.ts";
import { decodeLvb, encodeLvb } from "./lvb-codec.ts";
import { lvbTransfer } from "./lvb-transfer.ts";
import type { MemberSession } from "./member-session.ts";

type Cast = Extract<LockEvent, { type: "cast" }>;

const numberOf = (mode: LockMode): number => lockModes.indexOf(mode);
const outcomes = new Map<number, Grant["status"]>([
  [lockStatus.OK, "granted"],
  [lockStatus.EAGAIN, "eagain"],
  [lockStatus.EDEADLK, "edeadlk"],
  [lockStatus.ECANCEL, "ecancel"],
]);

/** A lock as its owner sees it; events of the lock server come in through `onCast` and `onBast`. */
export class LockHandle implements Lock {
  readonly resource: string;
  readonly lkid: number;
  readonly #session: MemberSession;
  readonly #options: OpenOptions;
  #mode: LockMode = "NL";
  #pending: Deferred<Grant> | null = null;
  /** What the conversion that waits asked for. */
  #wanted: LockMode = "NL";
  readonly #opened = deferred<LockHandle>();
  #isOpen = false;
  #closing: Promise<void> | null = null;
  #ended: MdError | null = null;
  #onClosed: () => void = () => {};

  constructor(resource: string, lkid: number, session: MemberSession, options: OpenOptions) {
    this.resource = resource;
    this.lkid = lkid;
    this.#session = session;
    this.#options = options;
    this.#opened.promise.catch(() => {}); // whoever opens looks at it later
  }

  /** Resolves when the first completion, of the NL request, has come: the next one belongs to a conversion. */
  get opened(): Promise<LockHandle> {
    return this.#opened.promise;
  }

  get mode(): LockMode {
    return this.#mode;
  }

  convert(mode: LockMode, { lvb, noqueue = false, signal }: ConvertOptions = {}): Promise<Grant> {
    assert(this.#pending === null, `${this.resource}: a conversion to ${mode} while another one waits`);
    assert(this.#closing === null, `${this.resource}: a conversion of a lock that was closed`);
    assert(lvb === undefined || this.#options.lvb, `${this.resource}: opened without a value block`);
    assert(lvb === undefined || lvb.byteLength === LVB_SIZE, `${this.resource}: a value block has ${LVB_SIZE} bytes`);
    if (this.#ended !== null) return Promise.reject(this.#ended);
    if (signal?.aborted) return Promise.resolve({ status: "ecancel", mode: this.#mode, lvb: null, lvbValid: true });

    const pending = deferred<Grant>();
    this.#pending = pending;
    this.#wanted = mode;
    // A value is written only where one was given: to publish an old buffer would make an invalid value valid.
    const reads = lvbTransfer(numberOf(this.#mode), numberOf(mode)) === "R";
    const transfer = this.#options.lvb && (reads || lvb !== undefined);
    const flags = (noqueue ? lockFlag.NOQUEUE : 0) | (transfer ? lockFlag.VALBLK : 0);
    const call = { op: "convert", name: this.resource, lkid: this.lkid, mode: numberOf(mode), flags } as const;
    this.#request(transfer ? { ...call, lvb: lvb === undefined ? "" : encodeLvb(lvb) } : call, pending);
    if (signal !== undefined) this.#cancelBy(signal, pending);
    return pending.promise;
  }

  #request(call: Parameters<MemberSession["request"]>[0], pending: Deferred<Grant>): void {
    const fail = (error: unknown): void => {
      if (this.#pending === pending) this.#pending = null;
      pending.reject(error);
    };
    this.#session.request(call).then(({ rc }) => {
      if (rc === lockStatus.OK) return;
      fail(new MdError("E_INTERNAL", `${this.resource}: ${call.op} was refused: ${lockStatusName(rc)}`));
    }, fail);
  }

  #cancelBy(signal: AbortSignal, pending: Deferred<Grant>): void {
    const cancel = (): void => {
      this.#request({ op: "unlock", name: this.resource, lkid: this.lkid, flags: lockFlag.CANCEL }, pending);
    };
    signal.addEventListener("abort", cancel);
    const forget = (): void => signal.removeEventListener("abort", cancel);
    pending.promise.then(forget, forget);
  }

  close(): Promise<void> {
    if (this.#ended !== null) return Promise.resolve();
    this.#closing ??= new Promise((resolve, reject) => {
      this.#onClosed = resolve;
      const { resource: name, lkid } = this;
      this.#session.request({ op: "unlock", name, lkid, flags: lockFlag.FORCEUNLOCK }).catch((error: unknown) => {
        // The membership has ended, and all its locks with it.
        if (error instanceof MdError) resolve();
        else reject(error);
      });
    });
    return this.#closing;
  }

  /** Settles when whoever waits for this completion has run: a later notification finds it done. */
  onCast(cast: Cast): Promise<void> {
    if (cast.status === lockStatus.EUNLOCK) {
      this.#mode = "NL";
      this.#onClosed();
      return this.#settle({ status: "ecancel", mode: "NL", lvb: null, lvbValid: true });
    }
    if (!this.#isOpen) {
      this.#isOpen = true;
      this.#opened.resolve(this);
      return Promise.resolve();
    }
    this.#mode = lockModes[cast.mode] ?? "NL";
    const status = outcomes.get(cast.status);
    assert(status !== undefined, `${this.resource}: completion with ${lockStatusName(cast.status)}`);
    const right = status !== "granted" || this.#pending === null || this.#mode === this.#wanted;
    assert(right, `${this.resource}: ${this.#mode} was granted and ${this.#wanted} asked for`);
    return this.#settle({
      status,
      mode: this.#mode,
      lvb: cast.lvb === undefined ? null : decodeLvb(cast.lvb),
      lvbValid: (cast.flags & statusFlag.VALNOTVALID) === 0,
    });
  }

  async #settle(grant: Grant): Promise<void> {
    const pending = this.#pending;
    this.#pending = null;
    pending?.resolve(grant);
    await pending?.promise.catch(() => {});
  }

  /** A notification that is outdated by a completion we have seen since is dropped. */
  onBast(wanted: LockMode): void {
    if (!modesCompatible(this.#mode, wanted)) this.#options.onBast?.(wanted);
  }

  /** The membership has ended: there is no lock any more. */
  end(error: MdError): void {
    this.#ended = error;
    this.#mode = "NL";
    this.#pending?.reject(error);
    this.#pending = null;
    this.#opened.reject(error);
    this.#onClosed();
  }
}
