import { MdError } from "../../base/md-error.ts";
import { sleep } from "../../env/clock.ts";
import type { ArraySession } from "../array-session.ts";
import { describeArray } from "../describe.ts";
import { findArray } from "../find-array.ts";
import type { Call, Method } from "./method.ts";

const PROGRESS_MS = 250;

/** No arrays: all that are assembled here. */
export const wait: Method<"wait"> = {
  read: (reader) => ({ arrays: reader.texts("arrays") }),
  run: async ({ arrays }, call) => {
    const { daemon, warn } = call;
    const sessions = arrays.length === 0 ? daemon.sessions : arrays.map((name) => findArray(daemon, name, warn));
    const waited = sessions.some((session) => session.status().sync !== null);
    const idle = new AbortController();
    const progress = Promise.all(sessions.map((session) => tellProgress(session, call, idle.signal)));
    try {
      await Promise.all(sessions.map((session) => session.node.waitIdle(call.signal)));
    } catch (error) {
      if (call.signal.aborted) throw new MdError("E_CANCELLED", "the wait was given up; the array is unaffected");
      throw error;
    } finally {
      idle.abort();
      await progress;
    }
    return { arrays: sessions.map(({ name }) => name), waited };
  },
};

async function tellProgress(session: ArraySession, { daemon, emit, signal }: Call<"wait">, idle: AbortSignal) {
  let last = "";
  while (!signal.aborted && !idle.aborted) {
    const { sync } = await describeArray(daemon, session, false);
    const text = JSON.stringify(sync);
    if (text !== last && sync.status !== "none") emit({ name: session.name, sync });
    last = text;
    await sleep(daemon.env.clock, PROGRESS_MS, idle);
  }
}
