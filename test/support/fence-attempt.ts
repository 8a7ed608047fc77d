import type { FenceAttempt } from "../../src/dlm/fencer.ts";

/** An attempt that a test can end, and that is wanted unless it says otherwise. */
export function fenceAttempt(isWanted: () => boolean = () => true): FenceAttempt & { readonly end: () => void } {
  const over = new AbortController();
  return { signal: over.signal, isWanted: () => Promise.resolve(isWanted()), end: () => over.abort() };
}
