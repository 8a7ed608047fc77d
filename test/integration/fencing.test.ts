import { existsSync, writeFileSync } from "node:fs";
import { afterEach, describe, expect, it } from "vitest";
import type { ClusterStatusData } from "../../src/daemon/control-api.ts";
import { Host } from "../support/daemons.ts";
import { FakeAgent } from "../support/fake-agent.ts";
import { FakeSgPersist } from "../support/fake-sg-persist.ts";

const MIB = 1024 * 1024;
const CREATE = ["create", "md0", "--level=1", "--cluster", "--bitmap-chunk=64K", "--file-members", "--assume-clean"];

describe("a daemon with fencing", () => {
  let host: Host;
  let fake: FakeSgPersist | null = null;
  afterEach(async () => {
    await host.close();
    fake?.remove();
    fake = null;
    delete process.env["MDCTL_FENCE"];
  });

  const members = (): string[] => ["a.img", "b.img"].map((name) => host.memberFile(name, 16 * MIB));

  /** Two daemons with one array; the first of them is then stopped, and stays so. */
  async function stopOne(fence: string): Promise<void> {
    process.env["MDCTL_FENCE"] = fence;
    await Promise.all([host.start("n1"), host.start("n2")]);
    const paths = members();
    await host.data("n1", ...CREATE, ...paths);
    await host.data("n2", "assemble", "md0", ...paths);
    process.kill(host.pidOf("n1"), "SIGSTOP");
  }

  it("takes over only when the agent has succeeded, and says what protects its nodes", async () => {
    host = new Host({ lease: "1s" });
    const allowed = host.path("allowed");
    const agent = new FakeAgent(host.folder.path, `[ -e '${allowed}' ] || { echo 'no power switch'; exit 1; }`);
    await stopOne(`command=${agent.path} timeout=5s retries=0 ip=10.1.2.3`);
    await expect.poll(() => agent.calls.length, { timeout: 30_000 }).toBeGreaterThanOrEqual(2);
    const events = await host.data<{ events: { event: string; array: string | null }[] }>("n2", "events");
    expect(events.events.filter(({ event, array }) => array === "md0" && event === "TAKEOVER")).toEqual([]);
    expect(host.logOf("n2")).toContain("no power switch");
    writeFileSync(allowed, "");
    await host.event("n2", ({ event, array }) => event === "TAKEOVER" && array === "md0");
    expect(Object.fromEntries(agent.calls.at(-1) ?? [])).toMatchObject({
      action: "off",
      node: "n1",
      plug: "n1",
      slot: "0",
      ip: "10.1.2.3",
    });
    const status = await host.data<ClusterStatusData>("n2", "cluster", "status");
    expect(status.fencing).toEqual({ methods: "fence agent", leaseOnly: false });
  });

  it("says that a pill without a watchdog is no more than a lease", async () => {
    host = new Host({ lease: "1s" });
    await stopOne("pill");
    await host.event("n2", ({ event, array }) => event === "TAKEOVER" && array === "md0");
    const status = await host.data<ClusterStatusData>("n2", "cluster", "status");
    expect(status.fencing).toEqual({ methods: "lease + pill (advisory)", leaseOnly: true });
    // It had its pill before anybody looked at its bitmap.
    process.kill(host.pidOf("n1"), "SIGCONT");
    await host.event("n1", ({ event, array }) => event === "FENCED" && array === "md0");
  });

  it("is not let into an array whose nodes are fenced otherwise", async () => {
    host = new Host({ lease: "1s" });
    await host.start("n1");
    process.env["MDCTL_FENCE"] = "pill";
    await host.start("n2");
    const paths = members();
    await host.data("n1", ...CREATE, ...paths);
    const refused = await host.json("n2", "assemble", "md0", ...paths);
    expect(refused.ok).toBe(false);
    expect(JSON.stringify(refused.error)).toMatch(/other settings than ours|fencing/);
  });

  it("does not start with an agent that cannot be used", async () => {
    host = new Host();
    process.env["MDCTL_FENCE"] = `command=${host.path("fence_nowhere")}`;
    await expect(host.start("n1")).rejects.toThrow(
      /fence: the agent .*fence_nowhere cannot be used: it does not exist/,
    );
    process.env["MDCTL_FENCE"] = "pill watchdog=/dev/watchdog_nowhere";
    await expect(host.start("n1")).rejects.toThrow(/the watchdog \/dev\/watchdog_nowhere cannot be used/);
  });

  it("refuses members that take no reservations, and leaves no array running", async () => {
    host = new Host();
    fake = new FakeSgPersist(host.folder.path);
    process.env["MDCTL_FENCE"] = "reservations";
    await host.start("n1");
    const [a = "", b = ""] = members();
    const refused = await host.json("n1", ...CREATE, a, b);
    expect(refused.ok).toBe(false);
    expect(JSON.stringify(refused.error)).toContain("is a file: it takes no persistent reservations");
    expect(existsSync(`${a}.pr`)).toBe(false);
    expect((await host.data<{ arrays: unknown[] }>("n1", "status")).arrays).toEqual([]);
  });
});
