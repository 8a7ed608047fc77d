import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { Redis } from "ioredis";
import type { LockMaster } from "../../src/dlm/lock-master.ts";
import { connectRedisMaster } from "../../src/dlm/redis/redis-lock-master.ts";
import { COMMAND_MS } from "../../src/dlm/redis/redis-options.ts";
import { connectSocketMaster } from "../../src/dlm/socket/socket-lock-master.ts";
import type { Env } from "../../src/env/env.ts";
import { PassThrough } from "../../test/support/pass-through.ts";
import { startRedis } from "../../test/support/redis.ts";
import { tempDir } from "../../test/support/temp-dir.ts";

/** A lock server of the bench's own, in a process of its own on this machine. */
export interface BenchedServer {
  readonly name: "redis" | "embedded";
  connect(node: string): Promise<LockMaster>;
  /** The same through a pass-through that counts. */
  connectCounted(node: string): Promise<LockMaster>;
  /** Both ways, of all counted connections. */
  countedBytes(): number;
  /** The cheapest call that this server and this client library can do. */
  bareCall(): Promise<unknown>;
  stop(): Promise<void>;
}

const BARE_FUNCTION = [
  "#!lua name=mdctl_bench",
  "redis.register_function{function_name='mdctl_bench', callback=function() return 1 end, flags={'no-writes'}}",
].join("\n");

/** Bare call: FCALL of a function of one line, without keys, through the same client library. */
export async function redisServer(env: Env): Promise<BenchedServer> {
  const redis = await startRedis();
  const through = await PassThrough.listen(0, { port: redis.port, host: "127.0.0.1" });
  const bare = new Redis({ port: redis.port, protocol: 2, enableAutoPipelining: false, commandTimeout: COMMAND_MS });
  await bare.call("FUNCTION", "LOAD", BARE_FUNCTION);
  return {
    name: "redis",
    connect: (node) => connectRedisMaster({ url: redis.url, node, env }),
    connectCounted: (node) => connectRedisMaster({ url: `redis://127.0.0.1:${through.port}`, node, env }),
    countedBytes: () => through.bytes,
    bareCall: () => bare.call("FCALL", "mdctl_bench", 0),
    stop: async () => {
      bare.disconnect();
      through.stop();
      await redis.stop();
    },
  };
}

const program = fileURLToPath(new URL("../../bin/mdctl.mjs", import.meta.url));

/** Bare call: hello for a lockspace that does not exist, which is answered without looking at anything. */
export async function embeddedServer(env: Env): Promise<BenchedServer> {
  const folder = tempDir("bench");
  const socketPath = join(folder.path, "lockd.sock");
  const countedPath = join(folder.path, "counted.sock");
  const child = spawn(process.execPath, [program, "lockd", `--socket=${socketPath}`], { stdio: "ignore" });
  const bare = await whenItAnswers(child, () => connectSocketMaster({ socketPath, env }));
  const through = await PassThrough.listen(countedPath, { path: socketPath });
  return {
    name: "embedded",
    connect: () => connectSocketMaster({ socketPath, env }),
    connectCounted: () => connectSocketMaster({ socketPath: countedPath, env }),
    countedBytes: () => through.bytes,
    bareCall: () => bare.call({ cluster: "bench", name: "nowhere" }, { op: "hello" }),
    stop: async () => {
      await bare.close();
      through.stop();
      child.kill("SIGTERM");
      if (child.exitCode === null) await once(child, "close");
      folder.remove();
    },
  };
}

async function whenItAnswers(child: ChildProcess, connect: () => Promise<LockMaster>): Promise<LockMaster> {
  for (;;) {
    try {
      return await connect();
    } catch (error) {
      if (child.exitCode !== null) throw error;
      await pause(20);
    }
  }
}
