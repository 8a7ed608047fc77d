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

/**
 * Resolves after `ms`, or as soon as any of `signals` aborts (whichever comes first; never rejects). Not `AbortSignal.any`:
 * a signal that lives long would keep a reference for each time that it was waited for.
 */
export function sleep(clock: Clock, ms: number, ...signals: readonly (AbortSignal | undefined)[]): Promise<void> {
  return new Promise((resolve) => {
    if (signals.some((signal) => signal?.aborted)) return resolve();
    const finish = (): void => {
      timer.cancel();
      for (const signal of signals) signal?.removeEventListener("abort", finish);
      resolve();
    };
    const timer = clock.after(ms, finish);
    for (const signal of signals) signal?.addEventListener("abort", finish);
  });
}
