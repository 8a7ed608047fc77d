/**
 * The one thing that the simulator needs of its host: between two events every promise that can settle must have. The
 * event loop turns once all microtasks have run, so an immediate is just that.
 */
export const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Contradictions inside floating promises would end a real process; `report` hears of them instead. */
export function catchUnhandled(report: (error: unknown) => void): () => void {
  const listener = (error: unknown): void => report(error);
  process.on("unhandledRejection", listener);
  return () => {
    process.off("unhandledRejection", listener);
  };
}
