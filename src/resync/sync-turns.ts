/**
 * Arrays of one node that share a disk are copied one after the other, in the order in which they came: two streams on one
 * disk are slower together than one by one (md's DELAYED). A turn waits for every earlier one with which it has a disk in
 * common. Whoever asks has the `resync` lock of its array already, so nobody who has a turn waits for anybody.
 */
export class SyncTurns {
  readonly #turns: SyncTurn[] = [];

  /** `disks`: equal for two members that lie on one disk. The turn is to be ended, granted or not. */
  ask(array: string, disks: Iterable<string>): SyncTurn {
    const turn = new SyncTurn(array, new Set(disks), this.#turns);
    this.#turns.push(turn);
    return turn;
  }
}

export class SyncTurn {
  readonly array: string;
  readonly #disks: ReadonlySet<string>;
  readonly #all: SyncTurn[];
  #wake: () => void = () => {};

  constructor(array: string, disks: ReadonlySet<string>, all: SyncTurn[]) {
    this.array = array;
    this.#disks = disks;
    this.#all = all;
  }

  /** The array that is waited for; null: it may begin. */
  get waitsFor(): string | null {
    for (const other of this.#all) {
      if (other === this) return null;
      for (const disk of this.#disks) if (other.#disks.has(disk)) return other.array;
    }
    return null;
  }

  /** Resolves when it may begin, or `signal` says that it is not wanted any more. */
  async wait(signal: AbortSignal): Promise<void> {
    const onAbort = (): void => this.#wake();
    signal.addEventListener("abort", onAbort);
    while (this.waitsFor !== null && !signal.aborted) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    signal.removeEventListener("abort", onAbort);
  }

  /** The next ones may begin. */
  end(): void {
    const at = this.#all.indexOf(this);
    if (at === -1) return;
    this.#all.splice(at, 1);
    for (const other of this.#all) other.#wake();
  }
}
