import { join } from "node:path";
import { MemoryLockMaster } from "../../src/dlm/memory-lock-master.ts";
import { connectRedisMaster } from "../../src/dlm/redis/redis-lock-master.ts";
import { runLockServer } from "../../src/dlm/socket/lock-server.ts";
import { connectSocketMaster } from "../../src/dlm/socket/socket-lock-master.ts";
import { silentLogger } from "../../src/env/logger.ts";
import { realEnv } from "../../src/env/real-env.ts";
import { fastLink } from "../../src/sim/lock-link.ts";
import { SimLockServer } from "../../src/sim/sim-lock-server.ts";
import { SimProcess } from "../../src/sim/sim-process.ts";
import { World } from "../../src/sim/world.ts";
import { lockMasterConformance } from "../conformance/lock-master.ts";
import { LOOPBACK, TestCa } from "../support/certificates.ts";
import { startRedis } from "../support/redis.ts";
import { tempDir } from "../support/temp-dir.ts";

/** Whom the suite and its vectors let join. */
const NODES = [..."ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", "zz", "Judge"];
const env = realEnv(silentLogger);

lockMasterConformance("memory", async () => {
  const master = new MemoryLockMaster();
  return { master, close: () => master.close() };
});

lockMasterConformance("socket", async () => {
  const directory = tempDir("lockd");
  const socketPath = join(directory.path, "lockd.sock");
  const server = await runLockServer({ socketPath, env });
  const master = await connectSocketMaster({ socketPath, env });
  const close = async (): Promise<void> => {
    await master.close();
    await server?.close();
    directory.remove();
  };
  return { master, close };
});

lockMasterConformance("socket over TLS", async () => {
  const directory = tempDir("lockd");
  const ca = new TestCa(directory.path);
  const listen = { host: "127.0.0.1", port: 0, tls: ca.issue("lockd", LOOPBACK) };
  const server = await runLockServer({ socketPath: join(directory.path, "lockd.sock"), env, listen });
  // One certificate for all that the suite calls nodes.
  const names = NODES.map((node) => `DNS:${node}`).join(",");
  const address = { ...listen, port: server?.listen?.port ?? 0, tls: ca.issue("nodes", names) };
  const master = await connectSocketMaster({ server: address, env });
  const close = async (): Promise<void> => {
    await master.close();
    await server?.close();
    directory.remove();
  };
  return { master, close };
});

lockMasterConformance("simulated", () => {
  const world = new World(1);
  const life = new SimProcess(world, "n1.1", new SimLockServer(world), [], { link: { ...fastLink, lostWakes: 0 } });
  let closed = false;
  const live = async (): Promise<void> => {
    // Its time runs as fast as the host lets it.
    while (!closed) await world.run(world.now + 1);
  };
  const lived = live();
  const close = async (): Promise<void> => {
    closed = true;
    await lived;
    life.kill("the suite is over");
  };
  return Promise.resolve({ master: life.link, close });
});

lockMasterConformance("redis", async () => {
  const server = await startRedis();
  const master = await connectRedisMaster({ url: server.url, node: "test", env });
  const close = async (): Promise<void> => {
    await master.close();
    await server.stop();
  };
  return { master, close };
});
