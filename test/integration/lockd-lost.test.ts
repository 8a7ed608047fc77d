import { setTimeout as pause } from "node:timers/promises";
import { describe } from "vitest";
import { LEASE_MS, type LossWorld, lossCases, NODES, STALL_MS } from "../support/loss-cases.ts";
import { MirrorCluster } from "../support/mirror-cluster.ts";

/** A mirror on two nodes of one host, with the lock server that the first of them started. */
class EmbeddedWorld implements LossWorld {
  readonly cluster: MirrorCluster;

  static async start(): Promise<EmbeddedWorld> {
    return new EmbeddedWorld(await MirrorCluster.start(NODES, { lease: `${LEASE_MS}ms` }));
  }

  private constructor(cluster: MirrorCluster) {
    this.cluster = cluster;
  }

  readonly signal = (signal: NodeJS.Signals): void => {
    const pid = this.cluster.host.lockServerPid();
    if (pid !== null) process.kill(pid, signal);
  };

  close(): Promise<void> {
    return this.cluster.close();
  }
}

describe("a verified load on two nodes, when the embedded lock server", () => {
  const losing = lossCases(() => EmbeddedWorld.start());

  losing("is killed: the daemons start another one and tell it what they hold", async ({ signal, cluster }) => {
    await cluster.remastering(async () => signal("SIGKILL"));
  });

  losing("stands still for longer than a lease", async ({ signal, cluster }) => {
    signal("SIGSTOP");
    await cluster.progress(NODES, 50);
    await pause(STALL_MS);
    signal("SIGCONT");
  });

  losing.fatal("is killed together with a node: the other goes on alone", async ({ signal, cluster }) => {
    const { host } = cluster;
    const since = await host.lastEvent("n1");
    await cluster.remastering(async () => {
      signal("SIGKILL");
      await host.end("n2", "SIGKILL");
    }, ["n1"]);
    await host.event("n1", ({ event, array }) => event === "TAKEOVER" && array === "md0", since);
    await cluster.works(["n1"]);
    await host.start("n2");
    await cluster.assemble("n2");
    await cluster.load(["n2"]);
  });
});
