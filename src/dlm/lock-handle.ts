import { assert } from "../base/assert.ts";
import { type Deferred, deferred } from "../base/deferred.ts";
import { MdError } from "../base/md-error.ts";
import type { BatchStep, HeldLock, LockEvent, LockReply } from "./lock-call.ts";
import { lockFlag, statusFlag } from "./lock-flags.ts";
import { type LockMode, lockModes, modesCompatible } from "./lock-mode.ts";
import { lockStatus, lockStatusName } from "./lock-status.ts";
import { type ConvertOptions, type Grant, type Lock, LVB_SIZE, type OpenOptions } from "./lockspace.ts";
import { decodeLvb, encodeLvb } from "./lvb-codec.ts";
import { lvbTransfer } from "./lvb-transfer.ts";
import type { MemberSession } from "./member-session.ts";
import { weakerOf } from "./unanswered.ts";

type Cast = Extract<LockEvent, { type: "cast" }>;

const numberOf = (mode: LockMode): number => lockModes.indexOf(mode);
const outcomes = new Map<number, Grant["status"]>([
  [lockStatus.OK, "granted"],
  [lockStatus.EAGAIN, "eagain"],
  [lockStatus.EDEADLK, "edeadlk"],
  [lockStatus.ECANCEL, "ecancel"],
]);

/** One conversion that was asked for and is not completed. */
export interface Conversion {
  readonly lock: LockHandle;
  /** The very object that is sent, as a call or as a step of one: it tells which call this belongs to. */
  step: BatchStep;
  readonly grant: Deferred<Grant>;
  /** Resolves when whoever waits for the grant has seen it: later notifications wait for that. */
  readonly seen: Deferred<void>;
  /** `seq` of the answer that accepted it, null before. */
  accepted: number | null;
}

/** A lock as its owner sees it; events of the lock server come in through `onCast` and `onBast`. */
export class LockHandle implements Lock {
  readonly resource: string;
  readonly lkid: number;
  readonly #session: MemberSession;
  readonly #options: OpenOptions;
  #mode: LockMode = "NL";
  /** In the order in which they will be completed. */
  readonly #conversions: Conversion[] = [];
  /** Flags of the last operation that is completed, and the `seq` of its completion. */
  #ex: number;
  #order: number;
  /** The last value read or acknowledged as written; undefined if there is none, or it was not valid. */
  #lvb: string | undefined = undefined;
  #lvbSeq = 0;
  #wasRefused = false;
  readonly #opened = deferred<LockHandle>();
  #isOpen = false;
  #closing: Promise<void> | null = null;
  #ended: MdError | null = null;
  #onClosed: () => void = () => {};

  /** `opened` is the answer to the call that created it, in NL. */
  constructor(resource: string, opened: LockReply, session: MemberSession, options: OpenOptions) {
    this.resource = resource;
    this.lkid = opened.value;
    this.#session = session;
    this.#options = options;
    this.#ex = lockFlag.EXPEDITE | (options.lvb ? lockFlag.VALBLK : 0);
    this.#order = opened.seq;
    this.#opened.promise.catch(() => {}); // whoever opens looks at it later
  }

  /** Resolves when the first completion, of the NL request, has come: the next one belongs to a conversion. */
  get opened(): Promise<LockHandle> {
    return this.#opened.promise;
  }

  get mode(): LockMode {
    return this.#mode;
  }

  convert(mode: LockMode, { signal, ...options }: ConvertOptions = {}): Promise<Grant> {
    assert(this.#conversions.length === 0, `${this.resource}: a conversion to ${mode} while another one waits`);
    if (signal?.aborted) return Promise.resolve({ status: "ecancel", mode: this.#mode, lvb: null, lvbValid: true });
    const conversion = this.prepare(mode, this.#mode, options);
    const { grant } = conversion;
    const call = { op: "convert", ...conversion.step } as const;
    conversion.step = call;
    grant.promise.then(
      () => conversion.seen.resolve(),
      () => conversion.seen.resolve(),
    );
    this.#session
      .request(call, ({ rc, seq }) => {
        if (rc === lockStatus.OK) conversion.accepted = seq;
        else this.refuse(conversion, rc);
      })
      .catch(grant.reject);
    if (signal !== undefined) this.#cancelBy(signal, grant);
    return grant.promise;
  }

  /** A conversion that its caller sends; `from` is the mode held when its turn comes. */
  prepare(mode: LockMode, from: LockMode, { lvb, noqueue = false }: Omit<ConvertOptions, "signal">): Conversion {
    assert(this.#closing === null, `${this.resource}: a conversion of a lock that was closed`);
    assert(lvb === undefined || this.#options.lvb, `${this.resource}: opened without a value block`);
    assert(lvb === undefined || lvb.byteLength === LVB_SIZE, `${this.resource}: a value block has ${LVB_SIZE} bytes`);
    // A value is written only where one was given: to publish an old buffer would make an invalid value valid.
    const reads = lvbTransfer(numberOf(from), numberOf(mode)) === "R";
    const transfer = this.#options.lvb && (reads || lvb !== undefined);
    const flags = (noqueue ? lockFlag.NOQUEUE : 0) | (transfer ? lockFlag.VALBLK : 0);
    const bare = { name: this.resource, lkid: this.lkid, mode: numberOf(mode), flags };
    const step = transfer ? { ...bare, lvb: lvb === undefined ? "" : encodeLvb(lvb) } : bare;
    const conversion: Conversion = {
      lock: this,
      step,
      grant: deferred<Grant>(),
      seen: deferred<void>(),
      accepted: null,
    };
    conversion.grant.promise.catch(() => {}); // whoever asked for it looks at it
    if (this.#ended === null) this.#conversions.push(conversion);
    else conversion.grant.reject(this.#ended);
    return conversion;
  }

  /** It was not begun. */
  withdraw(conversion: Conversion): void {
    const at = this.#conversions.indexOf(conversion);
    if (at >= 0) this.#conversions.splice(at, 1);
  }

  refuse(conversion: Conversion, rc: number): void {
    this.withdraw(conversion);
    const why = `${this.resource}: a conversion was refused: ${lockStatusName(rc)}`;
    conversion.grant.reject(new MdError("E_INTERNAL", why));
  }

  /** Ends the conversion that waits, unless the grant is faster. */
  cancel(): void {
    const call = { op: "unlock", name: this.resource, lkid: this.lkid, flags: lockFlag.CANCEL } as const;
    this.#session.request(call).catch(() => {}); // the membership has ended, and the wait with it
  }

  #cancelBy(signal: AbortSignal, { promise }: Deferred<Grant>): void {
    const cancel = (): void => this.cancel();
    signal.addEventListener("abort", cancel);
    const forget = (): void => signal.removeEventListener("abort", cancel);
    promise.then(forget, forget);
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

  /** Was this asked for and not completed yet? `step` is the object that was sent. */
  awaits(step: BatchStep): boolean {
    return this.#conversions.some((conversion) => conversion.step === step);
  }

  /** Did the last conversion that was completed end without the mode that it asked for? */
  get wasRefused(): boolean {
    return this.#wasRefused;
  }

  /** What we know of it, all notifications handled: what a lock server that forgot it must be told. */
  held(): HeldLock {
    const { resource: name, lkid } = this;
    const gr = numberOf(this.#mode);
    const bast = this.#options.onBast !== undefined;
    const value = this.#lvb === undefined ? { lvbSeq: this.#lvbSeq } : { lvb: this.#lvb, lvbSeq: this.#lvbSeq };
    const [next] = this.#conversions;
    if (next === undefined || next.accepted === null) {
      return { lkid, name, queue: "g", gr, rq: -1, ex: this.#ex, bast, order: this.#order, ...value };
    }
    const { mode: rq, flags: ex } = next.step;
    // It may have been granted: of CW and PR, which exclude each other, neither is claimed then.
    return { lkid, name, queue: "c", gr: weakerOf(gr, rq), rq, ex, bast, order: next.accepted, ...value };
  }

  /** Takes over what was reported of it, where a call without an answer has weakened it. */
  adopt({ gr, ex, lvb, lvbSeq }: HeldLock): void {
    // Weakened on its way from CW to PR or back it lets others write, and the grant reads nothing: what we know gets old.
    const lostTrack = gr === numberOf("CR") && (this.#mode === "CW" || this.#mode === "PR");
    this.#mode = lockModes[gr] ?? "NL";
    if (this.#conversions[0]?.accepted == null) this.#ex = ex;
    this.#lvb = lostTrack ? undefined : lvb;
    this.#lvbSeq = lvbSeq;
  }

  /** Settles when whoever waits for this completion has run: a later notification finds it done. */
  async onCast(cast: Cast): Promise<void> {
    this.#order = cast.seq;
    if (cast.status === lockStatus.EUNLOCK) {
      this.#mode = "NL";
      this.#onClosed();
      const gone: Grant = { status: "ecancel", mode: "NL", lvb: null, lvbValid: true };
      for (const { grant, seen } of this.#conversions.splice(0)) {
        grant.resolve(gone);
        await seen.promise;
      }
      return;
    }
    if (!this.#isOpen) {
      this.#isOpen = true;
      this.#learnValue(cast, undefined);
      this.#opened.resolve(this);
      return;
    }
    const conversion = this.#conversions.shift();
    this.#learnValue(cast, conversion?.step);
    this.#mode = lockModes[cast.mode] ?? "NL";
    const status = outcomes.get(cast.status);
    assert(status !== undefined, `${this.resource}: completion with ${lockStatusName(cast.status)}`);
    this.#wasRefused = status !== "granted";
    if (conversion === undefined) return;
    const wanted = conversion.step.mode;
    const right = status !== "granted" || cast.mode === wanted;
    assert(right, `${this.resource}: ${this.#mode} was granted and ${lockModes[wanted]} asked for`);
    this.#ex = conversion.step.flags;
    conversion.grant.resolve({
      status,
      mode: this.#mode,
      lvb: cast.lvb === undefined ? null : decodeLvb(cast.lvb),
      lvbValid: (cast.flags & statusFlag.VALNOTVALID) === 0,
    });
    await conversion.seen.promise;
  }

  /** A value that is not valid is none: reported as ours, it would become valid. */
  #learnValue(cast: Cast, step: BatchStep | undefined): void {
    if (cast.status !== lockStatus.OK) return;
    const writes = step?.lvb !== undefined && lvbTransfer(numberOf(this.#mode), cast.mode) === "W";
    if (cast.flags & statusFlag.VALNOTVALID) this.#lvb = undefined;
    else if (cast.lvb !== undefined) this.#lvb = cast.lvb;
    else if (writes) this.#lvb = step.lvb;
    this.#lvbSeq = cast.lvbSeq;
  }

  /** A notification that is outdated by a completion we have seen since is dropped. */
  onBast(wanted: LockMode): void {
    if (!modesCompatible(this.#mode, wanted)) this.#options.onBast?.(wanted);
  }

  /** The membership has ended: there is no lock any more. */
  end(error: MdError): void {
    this.#ended = error;
    this.#mode = "NL";
    for (const { grant, seen } of this.#conversions.splice(0)) {
      grant.reject(error);
      seen.resolve();
    }
    this.#opened.reject(error);
    this.#onClosed();
  }
}
