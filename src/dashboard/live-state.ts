import type { ArrayInfo, HistoryEvent, StatusData } from "../daemon/control-api.ts";
import { ControlClient } from "../daemon/control-client.ts";
import type { DashboardState } from "./view-model.ts";

/** Enough for the tallest screen. */
const EVENTS_KEPT = 200;
const RETRY_MS = 1000;

interface Sample {
  readonly at: number;
  readonly read: number;
  readonly write: number;
}

/**
 * What the daemon says, kept current: it pushes, nothing is polled. When the daemon goes away the last data stay and
 * the connection is tried again until `close`.
 */
export class LiveState {
  readonly #socket: string;
  readonly #refreshSeconds: number;
  readonly #changed: () => void;
  readonly #closing = new AbortController();
  readonly #samples = new Map<string, Sample>();
  readonly #rates = new Map<string, { read: number; write: number }>();
  #status: StatusData | null = null;
  #events: HistoryEvent[] = [];
  #retries: number | null = null;

  constructor(socket: string, refreshSeconds: number, changed: () => void) {
    this.#socket = socket;
    this.#refreshSeconds = refreshSeconds;
    this.#changed = changed;
  }

  snapshot(now: number): DashboardState {
    return {
      status: this.#status,
      events: this.#events,
      now,
      refreshSeconds: this.#refreshSeconds,
      rates: this.#rates,
      retries: this.#retries,
    };
  }

  close(): void {
    this.#closing.abort();
  }

  /** Runs until `close`; resolves then. */
  async follow(): Promise<void> {
    const { signal } = this.#closing;
    while (!signal.aborted) {
      try {
        await this.#followOnce(signal);
      } catch {
        // Whatever broke the connection, the remedy is to try again; the header says so.
      }
      if (signal.aborted) return;
      this.#retries = (this.#retries ?? 0) + 1;
      this.#changed();
      await pause(RETRY_MS, signal);
    }
  }

  async #followOnce(signal: AbortSignal): Promise<void> {
    const client = await ControlClient.open(this.#socket);
    try {
      this.#events = [];
      const onEvent = (event: HistoryEvent): void => {
        this.#events = [...this.#events, event].slice(-EVENTS_KEPT);
        this.#changed();
      };
      const past = await client.request("events", { array: null, since: 0, follow: false });
      this.#events = past.data.events.slice(-EVENTS_KEPT);
      const since = this.#events.at(-1)?.sequence ?? 0;
      await Promise.race([
        client.request(
          "watch",
          { intervalSeconds: this.#refreshSeconds },
          { signal, onEvent: (status) => this.#take(status) },
        ),
        client.request("events", { array: null, since, follow: true }, { signal, onEvent }),
      ]);
    } finally {
      client.close();
    }
  }

  #take(status: StatusData): void {
    this.#retries = null;
    this.#status = status;
    const now = Date.now();
    for (const array of status.arrays) this.#sample(array, now);
    this.#changed();
  }

  #sample({ name, mapping }: ArrayInfo, at: number): void {
    if (mapping === null) return;
    const sample = { at, read: mapping.io.readBytes, write: mapping.io.writeBytes };
    const last = this.#samples.get(name);
    this.#samples.set(name, sample);
    if (last === undefined || at <= last.at) return;
    const perSecond = (now: number, before: number): number => Math.max(0, ((now - before) * 1000) / (at - last.at));
    this.#rates.set(name, { read: perSecond(sample.read, last.read), write: perSecond(sample.write, last.write) });
  }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      resolve();
    });
  });
}

/** One look, for `--once`. Rejects with E_DAEMON when there is nobody to ask. */
export async function lookOnce(socket: string): Promise<{ status: StatusData; events: readonly HistoryEvent[] }> {
  const client = await ControlClient.open(socket);
  try {
    const [status, events] = await Promise.all([
      client.request("status", {}),
      client.request("events", { array: null, since: 0, follow: false }),
    ]);
    return { status: status.data, events: events.data.events };
  } finally {
    client.close();
  }
}
