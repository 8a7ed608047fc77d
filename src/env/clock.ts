export interface Timer {
  cancel(): void;
}

export interface Clock {
  /**
   * Milliseconds, monotonic, with fractions; the same in every thread of the process. It goes on while the host is
   * suspended, as far as a change of the wall clock against it gives that away.
   */
  now(): number;
  /**
   * Milliseconds since the host was booted, those that it was suspended included, whatever the wall clock says
   * (CLOCK_BOOTTIME); to 10 ms. Only differences mean anything. Costs a system call.
   */
  sinceBoot(): number;
  /** Milliseconds since 1970. For people and on-disk times only: it may jump. */
  wall(): number;
  /** Runs `action` once, `ms` from now, unless cancelled. */
  after(ms: number, action: () => void): Timer;
}

/** Resolves after `ms`, or as soon as `signal` aborts (whichever comes first; never rejects). */
export function sleep(clock: Clock, ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve();
    const finish = (): void => {
      timer.cancel();
      signal?.removeEventListener("abort", finish);
      resolve();
    };
    const timer = clock.after(ms, finish);
    signal?.addEventListener("abort", finish);
  });
}
