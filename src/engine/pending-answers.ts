import { assert } from "../base/assert.ts";
import type { MdError } from "../base/md-error.ts";
import type { EngineAnswer, EngineNotice, WorkerToEngine } from "./engine-protocol.ts";
import { errorOf } from "./error-of.ts";

interface Waiting {
  readonly resolve: (answer: EngineAnswer) => void;
  readonly reject: (error: Error) => void;
}

/** The control plane's half of the seam: which promise an answer belongs to, and who wants to hear notices. */
export class PendingAnswers {
  readonly #waiting = new Map<number, Waiting>();
  readonly #listeners: ((notice: EngineNotice) => void)[] = [];
  /** What came before anybody listened. */
  #early: EngineNotice[] = [];
  #lastId = 0;
  #failure: MdError | null = null;

  /** The id to send along, and what its answer will resolve. */
  expect(): { readonly id: number; readonly answer: Promise<EngineAnswer> } {
    const id = ++this.#lastId;
    const answer = new Promise<EngineAnswer>((resolve, reject) => {
      if (this.#failure === null) this.#waiting.set(id, { resolve, reject });
      else reject(this.#failure);
    });
    return { id, answer };
  }

  /** Commands that wait for their answer. */
  get missing(): number {
    return this.#waiting.size;
  }

  onNotice(listener: (notice: EngineNotice) => void): void {
    this.#listeners.push(listener);
    for (const notice of this.#early.splice(0)) listener(notice);
  }

  receive(message: WorkerToEngine): void {
    if (message.type === "notice") {
      this.notify(message.notice);
      return;
    }
    const waiting = this.#waiting.get(message.id);
    assert(waiting !== undefined, `an answer has id ${message.id}`);
    this.#waiting.delete(message.id);
    if (message.type === "done") waiting.resolve(message.answer);
    else waiting.reject(errorOf(message.code, message.message));
  }

  notify(notice: EngineNotice): void {
    if (this.#listeners.length === 0) this.#early.push(notice);
    for (const listener of this.#listeners) listener(notice);
  }

  /** No answer will come any more. */
  fail(error: MdError): void {
    this.#failure ??= error;
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
  }
}
