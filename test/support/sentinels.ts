import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { freePort, redisProgram } from "./redis.ts";
import { tempDir } from "./temp-dir.ts";

export interface Sentinels {
  readonly ports: readonly number[];
  /** redis+sentinel://..., master-name `main` */
  readonly url: string;
  stop(): Promise<void>;
}

/**
 * Real sentinels that watch the server on a port under the name `main`; a majority of them decides. `more`: lines for
 * their configuration. `secure`: they listen with TLS.
 */
export async function startSentinels(
  master: { readonly port: number },
  count = 3,
  more: readonly string[] = [],
  secure = false,
): Promise<Sentinels> {
  const folder = tempDir("sentinel");
  const ports: number[] = [];
  for (let n = 0; n < count; n++) ports.push(await freePort());
  const processes = await Promise.all(
    ports.map((port) => {
      const file = join(folder.path, `sentinel-${port}.conf`);
      const quorum = Math.floor(count / 2) + 1;
      writeFileSync(
        file,
        [
          secure ? `port 0\ntls-port ${port}` : `port ${port}`,
          "bind 127.0.0.1",
          `dir ${folder.path}`,
          `sentinel monitor main 127.0.0.1 ${master.port} ${quorum}`,
          "sentinel down-after-milliseconds main 500",
          "sentinel failover-timeout main 5000",
          ...more,
          "",
        ].join("\n"),
      );
      return launch(file);
    }),
  );
  return {
    ports,
    url: `${secure ? "rediss" : "redis"}+sentinel://${ports.map((port) => `127.0.0.1:${port}`).join(",")}/main`,
    stop: async () => {
      for (const child of processes) {
        child.kill("SIGKILL");
        if (child.exitCode === null && child.signalCode === null) await once(child, "close");
      }
      folder.remove();
    },
  };
}

async function launch(file: string): Promise<ChildProcess> {
  const child = spawn(redisProgram, [file, "--sentinel"], { stdio: ["ignore", "pipe", "inherit"] });
  for await (const line of createInterface({ input: child.stdout })) {
    if (line.includes("+monitor")) break;
  }
  child.stdout.resume();
  if (child.exitCode !== null) throw new Error(`the sentinel ended with ${child.exitCode}`);
  return child;
}
