import { hostname } from "node:os";
import { ControlClient } from "../daemon/control-client.ts";
import type { World } from "./world.ts";

/** The process that we are. */
export const processWorld: World = {
  env: process.env,
  cwd: process.cwd(),
  hostname: hostname(),
  stdinIsTerminal: process.stdin.isTTY === true,
  stderrIsTerminal: process.stderr.isTTY === true,
  stdout: (text) => void process.stdout.write(text),
  stderr: (text) => void process.stderr.write(text),
  readLine,
  connect: (socketPath) => ControlClient.open(socketPath),
  now: () => Date.now(),
  onInterrupt(listener) {
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => listener(signal));
  },
};

function readLine(waitMs: number | null): Promise<string | null> {
  return new Promise((resolve) => {
    const { stdin } = process;
    let text = "";
    const finish = (line: string | null): void => {
      if (timer !== null) clearTimeout(timer);
      stdin.off("data", receive);
      stdin.off("end", end);
      stdin.off("error", end);
      stdin.pause();
      resolve(line);
    };
    const receive = (chunk: Buffer): void => {
      text += chunk.toString("utf8");
      const newline = text.indexOf("\n");
      if (newline >= 0) finish(text.slice(0, newline));
    };
    const end = (): void => finish(text === "" ? null : text);
    const timer = waitMs === null ? null : setTimeout(() => finish(null), waitMs);
    stdin.on("data", receive);
    stdin.on("end", end);
    stdin.on("error", end);
    stdin.resume();
  });
}
