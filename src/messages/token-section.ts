/** What is run while the token is held, and how the wait for it ends early. */
export class TokenSection {
  readonly run: () => Promise<void>;
  readonly refuse: (error: unknown) => void;
  readonly #wanted: AbortSignal | undefined;
  readonly #wait = new AbortController();
  readonly #giveUp = (): void => this.#wait.abort();

  /** `run` does not reject. `refuse`: it never runs. `wanted` ends the wait for the token when it is aborted. */
  constructor(run: () => Promise<void>, refuse: (error: unknown) => void, wanted: AbortSignal | undefined) {
    this.run = run;
    this.refuse = refuse;
    this.#wanted = wanted;
  }

  get isCancelled(): boolean {
    return this.#wanted?.aborted === true;
  }

  /** For the wait that begins now. */
  begin(): void {
    this.#wanted?.addEventListener("abort", this.#giveUp);
  }

  get waitSignal(): AbortSignal {
    return this.#wait.signal;
  }

  giveUp(): void {
    this.#giveUp();
  }

  end(): void {
    this.#wanted?.removeEventListener("abort", this.#giveUp);
  }
}
