import { afterAll, afterEach, beforeEach, describe, expect, it } from "vitest";
import { firstDifference } from "../../src/cli/demo/compare-members.ts";
import type { ArrayInfo, AssembleData, CreateData, ManageData, StatusData } from "../../src/daemon/control-api.ts";
import { Host, runProgram } from "../support/daemons.ts";
import { type RedisServer, startRedis } from "../support/redis.ts";

const MIB = 1024 * 1024;
const MEMBER_BYTES = 24 * MIB;
const CREATE = ["create", "md0", "--level=1", "--cluster", "--assume-clean", "--run", "--bitmap-chunk=64K"];

let redis: RedisServer | null = null;
let host: Host;
let files = 0;

/** The cases share their daemons, and each has an array of its own. */
beforeEach(async () => {
  if (redis === null) {
    redis = await startRedis();
    host = new Host({ lockServer: redis.url });
    await Promise.all(["n1", "n2"].map((node) => host.start(node)));
  }
});

const end = async (): Promise<void> => {
  await host.close();
  await redis?.stop();
  redis = null;
};

afterEach(async ({ task }) => {
  if (task.result?.state === "fail") return end();
  for (const node of ["n1", "n2"]) await host.json(node, "stop", "md0");
});

afterAll(end);

const file = (): string => host.memberFile(`${++files}.img`, MEMBER_BYTES);

const arrayOn = (node: string): Promise<ArrayInfo> =>
  host.data<{ array: ArrayInfo }>(node, "detail", "md0").then(({ array }) => array);

/**
 * What a node says of the members, without what is its own view: errors, who sees them, and faulty ones that it has bound
 * still (as in md, whoever came after the failure never had them).
 */
const membersOn = async (node: string): Promise<readonly unknown[]> => {
  const { members, events, health } = await arrayOn(node);
  const bound = members.filter(({ role }) => role !== "faulty");
  const told = bound.map(({ number, slot, role, path }) => ({ number, slot, role, path }));
  return [...told.sort((a, b) => a.number - b.number), { events, health }];
};

/** All nodes, and the superblocks as stock mdadm reads them, tell the same story. */
async function expectAgreement(nodes: readonly string[], members: readonly string[]): Promise<void> {
  for (const node of nodes) await host.data(node, "wait", "md0");
  const [first = "", ...others] = nodes;
  const told = await membersOn(first);
  for (const node of others) expect(await membersOn(node), node).toEqual(told);
  const states = new Set<string>();
  for (const member of members) {
    const { stdout } = await runProgram("mdadm", ["--examine", member]);
    expect(stdout, member).toMatch(/Checksum : [0-9a-f]+ - correct/);
    states.add(`${/Array State.*/.exec(stdout)?.[0]} ${/Events : .*/.exec(stdout)?.[0]}`);
  }
  expect([...states], "Array State and Events of all members").toHaveLength(members.length === 0 ? 0 : 1);
}

describe("at the same moment, two nodes", () => {
  let a: string;
  let b: string;

  beforeEach(async () => {
    [a, b] = [file(), file()];
    await host.data("n1", ...CREATE, a, b);
  });

  it("assemble an array: both have it (F27)", async () => {
    await host.data("n1", "stop", "md0");
    const outcomes = await Promise.all(
      ["n1", "n2"].map((node) => host.data<AssembleData>(node, "assemble", "md0", a, b)),
    );
    const slots = outcomes.map(({ arrays }) => arrays[0]?.array?.slot);
    expect([...slots].sort()).toEqual([0, 1]);
    await expectAgreement(["n1", "n2"], [a, b]);
  });

  it("fail a member each: one does, the other is told that it is the last copy (F27)", async () => {
    await host.data("n2", "assemble", "md0", a, b);
    const outcomes = await Promise.all([
      host.json<ManageData>("n1", "fail", "md0", a),
      host.json<ManageData>("n2", "fail", "md0", b),
    ]);
    expect(outcomes.filter(({ ok }) => ok)).toHaveLength(1);
    expect(outcomes.find(({ ok }) => !ok)?.error?.code).toBe("E_LAST_COPY");
    await expectAgreement(["n1", "n2"], [outcomes[0]?.ok ? b : a]);
    expect((await arrayOn("n2")).health).toBe("degraded");
  });

  it("add the same device: it is added once (F27)", async () => {
    await host.data("n2", "assemble", "md0", a, b);
    const c = file();
    const outcomes = await Promise.all(["n1", "n2"].map((node) => host.json<ManageData>(node, "add", "md0", c)));
    expect(outcomes.filter(({ ok }) => ok)).toHaveLength(1);
    await expectAgreement(["n1", "n2"], [a, b, c]);
    expect((await arrayOn("n1")).spareDevices).toBe(1);
  });

  it("add a device each: both are added, under numbers of their own (F27)", async () => {
    await host.data("n2", "assemble", "md0", a, b);
    const spares = [file(), file()] as const;
    await Promise.all([host.data("n1", "add", "md0", spares[0]), host.data("n2", "add", "md0", spares[1])]);
    await expectAgreement(["n1", "n2"], [a, b, ...spares]);
    expect((await arrayOn("n1")).spareDevices).toBe(2);
  });
});

describe("slots", () => {
  const uriOf = async (node: string): Promise<string> =>
    (await host.data<{ mapping: { uri: string } }>(node, "map", "md0")).mapping.uri;

  const write = async (node: string, command: string): Promise<void> => {
    const outcome = await runProgram("qemu-io", ["-f", "raw", "-c", command, await uriOf(node)]);
    expect(outcome.stdout).not.toMatch(/failed|error/i);
    expect(outcome).toMatchObject({ exitCode: 0 });
  };

  it("that a dead node leaves are taken by a newcomer while the dead one is being recovered (F34)", async () => {
    await host.start("n3");
    const [a, b] = [file(), file()];
    const created = await host.data<CreateData>("n1", ...CREATE, "--nodes=2", a, b);
    const areas = [a, b].map((path) => ({ path, dataOffsetBytes: created.array?.dataOffsetBytes ?? 0 }));
    await host.data("n2", "assemble", "md0", a, b);
    // All slots are taken: who comes now is told so, and has nothing.
    const refused = await host.json<AssembleData>("n3", "assemble", "md0", a, b);
    expect(JSON.stringify(refused)).toContain("E_NODES_FULL");

    await write("n2", "write -P 0x5a 4M 1M");
    await host.end("n2", "SIGKILL");
    // The newcomer joins, the survivor takes the bitmap over, and the dead node comes back, all at once.
    const joining = host.data<AssembleData>("n3", "assemble", "md0", a, b);
    await host.start("n2");
    const { arrays } = await joining;
    expect(arrays).toMatchObject([{ started: true, array: { slot: 1 } }]);
    const late = await host.json<AssembleData>("n2", "assemble", "md0", a, b);
    expect(JSON.stringify(late)).toContain("E_NODES_FULL");
    await write("n3", "read -P 0x5a 4M 1M");
    await expectAgreement(["n1", "n3"], [a, b]);
    for (const node of ["n3", "n1"]) await host.data(node, "stop", "md0");
    await host.end("n3", "SIGTERM");
    expect(await firstDifference(areas, created.array?.sizeBytes ?? 0)).toBeNull();
  });

  it("are used again right after a death: the node that comes back at once is not taken for its former life (F34)", async () => {
    const [a, b] = [file(), file()];
    await host.data("n1", ...CREATE, "--nodes=2", a, b);
    await host.data("n2", "assemble", "md0", a, b);
    for (let n = 0; n < 2; n++) {
      await write("n2", `write -P 0x${n + 1} ${n}M 1M`);
      await host.end("n2", "SIGKILL");
      await host.start("n2");
      const { arrays } = await host.data<AssembleData>("n2", "assemble", "md0", a, b);
      expect(arrays).toMatchObject([{ array: { slot: 1 } }]);
      await write("n2", `read -P 0x${n + 1} ${n}M 1M`);
    }
    await expectAgreement(["n1", "n2"], [a, b]);
    // On a busy machine a renewal may just be late: then the other node is suspect for a moment.
    const verdict = async (): Promise<string> => (await host.data<StatusData>("n1", "status")).verdict;
    await expect.poll(verdict, { timeout: 30_000 }).toBe("ok");
  });
});

describe("a message to a node that stalls or dies before it acknowledges (F35)", () => {
  let a: string;
  let b: string;
  let c: string;

  beforeEach(async () => {
    [a, b, c] = [file(), file(), file()];
    await host.data("n1", ...CREATE, a, b);
    await host.data("n2", "assemble", "md0", a, b);
  });

  /** Each command of a member's life: NEWDISK, METADATA_UPDATED, REMOVE, and RE_ADD in its own way. */
  const steps = (): readonly (readonly string[])[] => [
    ["add", "md0", c],
    ["remove", "md0", c],
    ["fail", "md0", b],
    ["remove", "md0", b],
    ["add", "md0", b],
  ];

  it("waits for one that stalls for less than a lease, and is not lost", async () => {
    for (const step of steps()) {
      process.kill(host.pidOf("n2"), "SIGSTOP");
      const said = host.data<ManageData>("n1", ...step);
      // The token is taken and the message said: only its acknowledgement is missing.
      await waitingForAck("n1");
      process.kill(host.pidOf("n2"), "SIGCONT");
      await said;
      await expectAgreement(["n1", "n2"], step[0] === "fail" ? [a] : []);
    }
    expect((await arrayOn("n2")).health).toBe("optimal");
  });

  it("waits no longer than for the lease of one that stalls; the node comes back to the same members", async () => {
    const [one, two] = [await host.lastEvent("n1"), await host.lastEvent("n2")];
    process.kill(host.pidOf("n2"), "SIGSTOP");
    await host.data("n1", "fail", "md0", b);
    await host.event("n1", ({ event, array }) => event === "NODEDOWN" && array === null, one);
    process.kill(host.pidOf("n2"), "SIGCONT");
    await host.event("n2", ({ event, array }) => event === "FENCED" && array === "md0", two);
    await host.event("n1", ({ event }) => event === "NODEUP", one);
    await host.data("n2", "assemble", "md0", a);
    await expectAgreement(["n1", "n2"], [a]);
    expect((await arrayOn("n2")).health).toBe("degraded");
  });

  it("waits for one that dies only until its end is known", async () => {
    process.kill(host.pidOf("n2"), "SIGSTOP");
    const said = host.data("n1", "add", "md0", c);
    await waitingForAck("n1");
    await host.end("n2", "SIGKILL");
    await said;
    await host.start("n2");
    await host.data("n2", "assemble", "md0", a, b, c);
    await expectAgreement(["n1", "n2"], [a, b, c]);
  });

  /** Until this node has asked for the others' acknowledgement. */
  async function waitingForAck(node: string): Promise<void> {
    for (;;) {
      const { resources } = await host.data<{
        resources: readonly { name: string; convert: readonly { node: string }[] }[];
      }>(node, "locks", "md0");
      const ack = resources.find(({ name }) => name === "ack");
      if (ack?.convert.some((conversion) => conversion.node === node)) return;
    }
  }
});
