import { frame } from "./frame.ts";
import { LiveState, lookOnce } from "./live-state.ts";
import { Screen } from "./screen.ts";
import type { FrameSize } from "./view-model.ts";

export interface DashboardOptions {
  readonly socket: string;
  readonly once: boolean;
  /** Null: the terminal's, else 80x24. */
  readonly size: FrameSize | null;
  readonly refreshSeconds: number;
  readonly colour: boolean;
  /** Ends it from outside. */
  readonly signal?: AbortSignal;
}

const DEFAULT_SIZE: FrameSize = { columns: 80, rows: 24 };

/**
 * `mdctl dashboard`. Full screen on a terminal; one frame as plain text with `--once`; without a terminal a plain frame
 * for each change, no escape codes. Resolves with the exit status when the person quits.
 */
export async function runDashboard(options: DashboardOptions): Promise<number> {
  if (options.once) return printOnce(options);
  const terminal = process.stdout.isTTY && process.env["TERM"] !== undefined && process.env["TERM"] !== "dumb";
  return terminal ? fullScreen(options) : plainStream(options);
}

async function printOnce({ socket, size }: DashboardOptions): Promise<number> {
  const { status, events } = await lookOnce(socket);
  const state = { status, events, now: Date.now(), refreshSeconds: 0, rates: new Map(), retries: null };
  process.stdout.write(plainText(frame(state, { ...(size ?? terminalSize()), selected: 0 })));
  return 0;
}

async function fullScreen({ socket, refreshSeconds, colour, signal }: DashboardOptions): Promise<number> {
  let screen: Screen | null = null;
  const live = new LiveState(socket, refreshSeconds, () => screen?.changed());
  screen = await Screen.open((now) => live.snapshot(now), colour);
  const quit = (): void => screen?.close();
  signal?.addEventListener("abort", quit);
  for (const name of ["SIGTERM", "SIGHUP"] as const) process.once(name, quit);
  const following = live.follow();
  await screen.closed;
  live.close();
  await following;
  return 0;
}

async function plainStream({ socket, size, refreshSeconds, signal }: DashboardOptions): Promise<number> {
  if (process.env["TERM"] === "dumb")
    process.stderr.write("mdctl: this terminal cannot show the dashboard; plain text follows\n");
  let last = "";
  const live = new LiveState(socket, refreshSeconds, () => {
    const text = plainText(frame(live.snapshot(Date.now()), { ...(size ?? DEFAULT_SIZE), selected: 0 }));
    // The clock in the first line is no news.
    const news = text.slice(text.indexOf("\n"));
    if (news === last) return;
    last = news;
    process.stdout.write(`${text}\n`);
  });
  const quit = (): void => live.close();
  signal?.addEventListener("abort", quit);
  for (const name of ["SIGINT", "SIGTERM"] as const) process.once(name, quit);
  await live.follow();
  return 0;
}

const terminalSize = (): FrameSize =>
  process.stdout.isTTY ? { columns: process.stdout.columns, rows: process.stdout.rows } : DEFAULT_SIZE;

const plainText = (lines: readonly string[]): string => `${lines.map((line) => line.trimEnd()).join("\n")}\n`;
