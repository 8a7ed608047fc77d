import type { Clock, Timer } from "../../env/clock.ts";

/**
 * Notices when the oldest question has waited too long for its answer. Answers come in the order of the questions; one timer
 * watches over all of them. While nothing is asked there is none: an idle node is not woken for it.
 */
export class AnswerWatch {
  readonly #clock: Clock;
  readonly #patienceMs: number;
  readonly #onLate: () => void;
  /** When each question without an answer was asked. */
  readonly #asked: number[] = [];
  #timer: Timer | null = null;

  constructor(clock: Clock, patienceMs: number, onLate: () => void) {
    this.#clock = clock;
    this.#patienceMs = patienceMs;
    this.#onLate = onLate;
  }

  asked(): void {
    this.#asked.push(this.#clock.now());
    this.#timer ??= this.#clock.after(this.#patienceMs, () => this.#look());
  }

  answered(): void {
    this.#asked.shift();
    if (this.#asked.length > 0) return;
    this.#timer?.cancel();
    this.#timer = null;
  }

  stop(): void {
    this.#asked.length = 0;
    this.#timer?.cancel();
    this.#timer = null;
  }

  #look(): void {
    this.#timer = null;
    const [oldest] = this.#asked;
    if (oldest === undefined) return;
    const left = oldest + this.#patienceMs - this.#clock.now();
    if (left > 0) this.#timer = this.#clock.after(left, () => this.#look());
    else this.#onLate();
  }
}
