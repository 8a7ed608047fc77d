import type { JoinOptions } from "../../src/dlm/join-options.ts";
import type { LockMaster } from "../../src/dlm/lock-master.ts";
import type { Lockspace } from "../../src/dlm/lockspace.ts";
import { joinLockspace } from "../../src/dlm/lockspace-client.ts";
import type { Env } from "../../src/env/env.ts";
import { MessageBus } from "../../src/messages/message-bus.ts";

/** Long, so that hardly a renewal falls into what is measured. */
const LEASE_MS = 60_000;
/** Of the member that creates the lockspace: it waits one lease first where the server may have forgotten another. */
const FIRST_LEASE_MS = 1000;
const LOCKSPACE = "array";

/** A member with its own connections, as a daemon has them, and a message bus whose handler has nothing to do. */
export interface BenchedNode {
  readonly name: string;
  readonly lockspace: Lockspace;
  readonly bus: MessageBus;
}

export interface BenchedNodes {
  readonly nodes: readonly BenchedNode[];
  leave(): Promise<void>;
}

/** An empty lockspace, which keeps existing. Whoever joins it first says how long its leases are. */
export async function createLockspace(env: Env, connect: (node: string) => Promise<LockMaster>): Promise<void> {
  const master = await connect("first");
  const lockspace = await joinLockspace(membership(env, "first", 1, master, FIRST_LEASE_MS));
  await lockspace.leave();
  await master.close();
}

/** All of them live in this process: processor time is shared, so the latency is an upper bound. */
export async function joinNodes(
  env: Env,
  count: number,
  connect: (node: string) => Promise<LockMaster>,
): Promise<BenchedNodes> {
  const nodes: BenchedNode[] = [];
  const masters: LockMaster[] = [];
  const leave = async (): Promise<void> => {
    for (const node of nodes) await node.lockspace.leave();
    for (const master of masters) await master.close();
  };
  try {
    for (let i = 0; i < count; i++) {
      const name = `n${i + 1}`;
      const master = await connect(name);
      masters.push(master);
      nodes.push(await joinNode(env, name, count, master));
    }
  } catch (error) {
    await leave();
    throw error;
  }
  return { nodes, leave };
}

async function joinNode(env: Env, node: string, slots: number, master: LockMaster): Promise<BenchedNode> {
  const lockspace = await joinLockspace(membership(env, node, slots, master, LEASE_MS));
  const bus = await MessageBus.open(lockspace, env, () => Promise.resolve(null));
  await bus.join(() => Promise.resolve());
  bus.listen();
  return { name: node, lockspace, bus };
}

const membership = (env: Env, node: string, slots: number, master: LockMaster, leaseMs: number): JoinOptions => ({
  master,
  name: LOCKSPACE,
  cluster: "bench",
  node,
  slots,
  lease: { leaseMs },
  env,
  listener: {
    recoverPrep: () => {},
    recoverSlot: () => {},
    recoverDone: () => {},
    fenced: (reason) => {
      throw new Error(`${node} was fenced: ${reason}`);
    },
  },
  leaseSink: () => {},
});
