import { execFileSync } from "node:child_process";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, expect, it } from "vitest";
import { DemoHost } from "../../src/cli/demo/demo-host.ts";

const program = fileURLToPath(new URL("../../bin/mdctl.mjs", import.meta.url));
const LIMIT_MS = 20_000;

let host: DemoHost;
let server: string;

beforeEach(async () => {
  host = new DemoHost(null, 32 * 1024 * 1024);
  server = `mdctl-test-${process.pid}`;
  await host.startLockServer();
  await host.startNode("n1", "5s");
});

afterEach(async () => {
  try {
    tmux("kill-server");
  } catch {
    // It ended with its last session.
  }
  await host.close();
});

const tmux = (...args: string[]): string => execFileSync("tmux", ["-L", server, ...args], { encoding: "utf8" });

/** Looks at the screen until it shows the text; what it showed last is in the failure. */
async function screenShows(text: string): Promise<string> {
  const deadline = Date.now() + LIMIT_MS;
  for (;;) {
    const screen = tmux("capture-pane", "-p", "-t", "dash");
    if (screen.includes(text)) return screen;
    if (Date.now() > deadline) expect(screen).toContain(text);
    await pause(50);
  }
}

it("is drawn on a real terminal, follows the cluster and its size, and gives the terminal back", {
  timeout: 60_000,
}, async () => {
  const command = `env LC_ALL=C.UTF-8 TERM=tmux-256color ${process.execPath} ${program} --socket=${host.socketOf("n1")} dashboard; echo gone; cat`;
  tmux("new-session", "-d", "-s", "dash", "-x", "80", "-y", "24", command);
  expect(await screenShows("1/1 nodes")).toContain("Arrays (0)");

  const options = ["--level=1", "--cluster", "--assume-clean", "--run", "--file-members", "--no-map"];
  await host.mdctl("n1", "create", "md0", ...options, ...host.members);
  await screenShows("disk-b.img");
  tmux("resize-window", "-t", "dash", "-x", "100", "-y", "40");
  const wide = await screenShows(`+${"-".repeat(98)}+`);
  expect(wide).toContain(">md0");

  tmux("send-keys", "-t", "dash", "q");
  expect(await screenShows("gone")).not.toContain("Arrays");
});
