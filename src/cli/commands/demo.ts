import { runDashboard } from "../../dashboard/main.ts";
import type { Command, CommandContext } from "../command.ts";
import { type DemoFacts, MEMBER_BYTES, runDemo } from "../demo/demo.ts";
import { DemoHost } from "../demo/demo-host.ts";
import { Narrator } from "../demo/narrator.ts";
import { EXIT_INTERRUPTED } from "../exit-status.ts";

/** `mdctl demo`: two daemons, one mirror, a killed node, on this host and in a temporary directory. */
export const demo: Command = async (invocation, context) => {
  const showDashboard =
    process.stdout.isTTY && process.env["TERM"] !== "dumb" && !context.json && !invocation.has("no-dashboard");
  const tell = new Narrator((line) => (context.json ? context.note(line) : context.print(`${line}\n`)), showDashboard);
  const host = new DemoHost(invocation.value("lock-server"), MEMBER_BYTES);
  const removeLeftovers = (): void => host.closeNow();
  process.once("exit", removeLeftovers);
  const dashboard = new AbortController();
  try {
    const screen = showDashboard ? watchOn(host, dashboard.signal, tell) : Promise.resolve();
    const facts = await Promise.race([runDemo(host, tell), interruption(context)]);
    dashboard.abort();
    await screen;
    tell.last(
      `demo: ok ${Object.entries(facts)
        .map(([key, value]) => `${key}=${value}`)
        .join(" ")}`,
    );
    return { data: facts, text: "", streamed: !context.json };
  } catch (error) {
    dashboard.abort();
    const interrupted = context.interrupted.aborted;
    if (!interrupted) for (const line of host.complaints()) tell.detail(line);
    tell.last(`demo: FAILED step=${tell.current} ${interrupted ? "interrupted" : String(error)}`);
    return { data: null, text: "", streamed: !context.json, exitCode: interrupted ? EXIT_INTERRUPTED : 1 };
  } finally {
    await host.close();
    process.off("exit", removeLeftovers);
  }
};

/** The survivor's view, as soon as it is there; when the person quits it, the story goes on as text. */
async function watchOn(host: DemoHost, signal: AbortSignal, tell: Narrator): Promise<void> {
  const socket = host.socketOf("n2");
  await runDashboard({ socket, once: false, size: null, refreshSeconds: 1, colour: true, signal });
  tell.release();
}

function interruption({ interrupted }: CommandContext): Promise<DemoFacts> {
  return new Promise((_, reject) => {
    interrupted.addEventListener("abort", () => reject(new Error("interrupted")), { once: true });
  });
}
