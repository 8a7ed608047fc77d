/**
 * The one thing that the simulator needs of its host: between two events every promise that can settle must have. The
 * event loop turns once all microtasks have run, so an immediate is just that.
 */
export const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** What Node calls "a tick in JS land": runs all microtasks, and tells of rejections that nobody handled. */
const tick = (process as { readonly _tickCallback?: () => void })._tickCallback;

/** Steps that are taken without a turn of the event loop: signals and timers of the host get their chance. */
const STEPS_A_TURN = 2000;

/**
 * Calls `step` until it returns a result; all promises that can settle do so before the next call if it says "settle".
 * A turn of the event loop for each would cost more than most steps: where Node lets us, microtasks are run in place.
 */
export function runSteps<T>(step: () => { readonly result: T } | "settle" | "next"): Promise<T> {
  return new Promise((resolve, reject) => {
    const turn = (): void => {
      try {
        for (let i = 0; i < STEPS_A_TURN; i++) {
          const outcome = step();
          if (outcome === "next") continue;
          if (outcome !== "settle") {
            resolve(outcome.result);
            return;
          }
          if (tick === undefined) break;
          tick();
        }
        setImmediate(turn);
      } catch (error) {
        reject(error);
      }
    };
    setImmediate(turn);
  });
}

/** Contradictions inside floating promises would end a real process; `report` hears of them instead. */
export function catchUnhandled(report: (error: unknown) => void): () => void {
  const listener = (error: unknown): void => report(error);
  process.on("unhandledRejection", listener);
  return () => {
    process.off("unhandledRejection", listener);
  };
}
