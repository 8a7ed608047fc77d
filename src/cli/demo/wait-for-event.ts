import type { HistoryEvent } from "../../daemon/control-api.ts";
import { ControlClient } from "../../daemon/control-client.ts";

/**
 * The first event with one of these codes in a daemon's journal, past or to come, after `after`. `seen` is told every
 * event before it. Rejects when the daemon goes away or `timeoutMs` is over.
 */
export async function waitForEvent(
  socket: string,
  codes: readonly string[],
  timeoutMs: number,
  { after = 0, seen = () => {} }: { readonly after?: number; readonly seen?: (event: HistoryEvent) => void } = {},
): Promise<HistoryEvent> {
  const client = await ControlClient.open(socket);
  const signal = AbortSignal.timeout(timeoutMs);
  try {
    return await new Promise<HistoryEvent>((resolve, reject) => {
      const take = (event: HistoryEvent): void => {
        if (codes.includes(event.event)) resolve(event);
        else seen(event);
      };
      const past = client.request("events", { array: null, since: after, follow: false }, { signal });
      past
        .then(({ data }) => {
          for (const event of data.events) take(event);
          const since = data.events.at(-1)?.sequence ?? after;
          return client.request("events", { array: null, since, follow: true }, { signal, onEvent: take });
        })
        .then(() => reject(new Error("the daemon ended the stream")), reject);
    });
  } catch (error) {
    if (!signal.aborted) throw error;
    throw new Error(`no ${codes.join(" or ")} event within ${timeoutMs / 1000} s`);
  } finally {
    client.close();
  }
}
