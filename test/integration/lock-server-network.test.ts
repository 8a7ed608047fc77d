import { describe } from "vitest";
import { LEASE_MS, lossCases, NODES } from "../support/redis-world.ts";

describe("a verified load on two nodes, while the network between them and Redis", () => {
  const losing = lossCases();

  losing("resets every connection, again and again", async ({ links, cluster }) => {
    for (let n = 0; n < 5; n++) {
      for (const link of links) link.reset();
      await cluster.progress();
    }
  });

  losing("doubles replies (F33)", async ({ links, cluster }) => {
    for (let n = 0; n < 5; n++) {
      await Promise.all(links.map((link) => link.doubleNext("reply")));
      await cluster.progress(NODES, 20);
    }
  });

  losing("doubles requests (F33)", async ({ links, cluster }) => {
    for (let n = 0; n < 5; n++) {
      await Promise.all(links.map((link) => link.doubleNext("request")));
      await cluster.progress(NODES, 20);
    }
  });

  losing("cuts one node off for less than a lease (F29)", async ({ links: [one], cluster }) => {
    one.cut();
    await cluster.progress(NODES, 50);
    one.heal();
  });

  losing("delays both directions", async ({ links, cluster }) => {
    for (const link of links) link.delay(LEASE_MS / 20, "request", "reply");
    await cluster.progress(NODES, 200);
    for (const link of links) link.heal();
  });
});
