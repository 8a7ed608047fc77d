import pino from "pino";

/** Bytes of lines that wait for the log to take them again. */
const MOST_WAITING = 64 * 1024;

/**
 * Standard error, line by line. A log that takes nothing (its disk is full) keeps nobody from anything: some lines wait,
 * the others are lost, and counted.
 */
export class LogSink {
  readonly #stderr = pino.destination({ fd: 2, sync: true });
  readonly #onLost: (lines: number) => void;
  #fails = false;
  #waiting = 0;
  #lost = 0;

  /** `onLost`: so many lines were lost, and the log takes lines again. */
  constructor(onLost: (lines: number) => void) {
    this.#onLost = onLost;
    this.#stderr.on("error", () => {
      this.#fails = true;
    });
    this.#stderr.on("write", () => this.#written());
  }

  /** With its newline. */
  write(line: string): void {
    if (this.#fails && this.#waiting + line.length > MOST_WAITING) {
      this.#lost++;
      // What waits is tried again.
      this.#stderr.write("");
      return;
    }
    this.#waiting += line.length;
    this.#stderr.write(line);
    if (!this.#fails) this.#waiting = 0;
  }

  #written(): void {
    this.#fails = false;
    this.#waiting = 0;
    if (this.#lost === 0) return;
    const lines = this.#lost;
    this.#lost = 0;
    // It is in the middle of writing.
    queueMicrotask(() => this.#onLost(lines));
  }
}
