import type { Clock } from "../env/clock.ts";

/** What `promise` gives, or null after `ms`. The promise is not withdrawn: `late` gets what it gives then. */
export function withTimeout<T>(
  clock: Clock,
  ms: number,
  promise: Promise<T>,
  late: (value: T) => void = () => {},
): Promise<T | null> {
  return new Promise((resolve, reject) => {
    let expired = false;
    const timer = clock.after(ms, () => {
      expired = true;
      resolve(null);
    });
    promise.then(
      (value) => {
        timer.cancel();
        if (expired) late(value);
        else resolve(value);
      },
      (error: unknown) => {
        timer.cancel();
        reject(error);
      },
    );
  });
}
