import type { Frozen } from "../dlm/lockspace.ts";
import type { Env } from "../env/env.ts";
import type { History } from "./history.ts";

/** Tells of a re-mastering once when it begins, once for each conflict, and when it is over. */
export function remasteringRecorder(history: History, env: Env): (frozen: Frozen | null) => void {
  let since: number | null = null;
  let told = "";
  return (frozen) => {
    if (frozen === null) {
      const seconds = ((env.clock.now() - (since ?? env.clock.now())) / 1000).toFixed(1);
      history.add("info", "REMASTERED", `locks are granted again, after ${seconds} s`);
      since = null;
      told = "";
      return;
    }
    if (since === null) {
      history.add("warn", "REMASTERING", `${frozen.reason}: the nodes tell it anew what they hold`);
      since = frozen.since;
    }
    for (const { resource, locks } of frozen.conflicts) {
      const holders = locks.map(({ node, mode }) => `${node} (${mode})`).join(" and ");
      const text = `${resource} is held by ${holders}, which cannot be: evict one of them`;
      if (text !== told) history.add("error", "LOCKCONFLICT", text, { resource, holders: locks });
      told = text;
    }
  };
}
