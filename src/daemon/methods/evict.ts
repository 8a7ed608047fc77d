import { MdError } from "../../base/md-error.ts";
import type { Daemon } from "../daemon.ts";
import { awaitEviction, type EvictionWorld, evictVouched } from "../eviction.ts";
import type { Method } from "./method.ts";

/** Makes sure that a dead node holds nothing any more. */
export const nodeEvict: Method<"nodeEvict"> = {
  read: (reader) => ({ node: reader.text("node"), confirmDead: reader.flag("confirmDead") }),
  run: ({ node, confirmDead }, { daemon, signal }) =>
    daemon.operations.run(`node evict ${node}`, async () => {
      checkVictim(daemon, node);
      const begun = daemon.env.clock.now();
      const evicted = await (confirmDead ? evictVouched : awaitEviction)(worldOf(daemon), node, signal);
      const waitedSeconds = Math.round((daemon.env.clock.now() - begun) / 100) / 10;
      if (evicted.length > 0) {
        const how = confirmDead ? "on the word of an operator" : "after its lease had ended, as an operator asked";
        const where = evicted.map(({ array }) => array ?? "the list of nodes").join(", ");
        daemon.tell(confirmDead ? "warn" : "info", "NODEEVICTED", null, `${node} was evicted from ${where} ${how}`);
      }
      return { node, evicted, waitedSeconds };
    }),
};

function checkVictim({ config, membership, sessions }: Daemon, node: string): void {
  if (node === config.node) {
    throw new MdError("E_VALUE", `${node} is this node: it cannot evict itself`, { hint: "mdctl stop --scan" });
  }
  const known = [
    ...membership.nodes.map(({ name }) => name),
    ...sessions.flatMap((session) => session.status().slots.map((slot) => slot.node)),
  ];
  if (known.includes(node)) return;
  throw new MdError("E_VALUE", `${JSON.stringify(node.slice(0, 80))} is no node of cluster ${config.cluster}`, {
    hint: "mdctl node list",
  });
}

const worldOf = (daemon: Daemon): EvictionWorld => ({
  clock: daemon.env.clock,
  lost: () => (daemon.lockService.lostAt === null ? null : daemon.frozen()),
  spaces: () => {
    const { lockspace } = daemon.membership;
    const own = lockspace === null ? [] : [{ array: null, of: lockspace, status: lockspace.status() }];
    const arrays = daemon.sessions.map(({ name, node: of }) => ({ array: name, of, status: of.lockspaceStatus() }));
    return [...own, ...arrays].map(({ array, of, status }) => ({ array, status, evict: (member) => of.evict(member) }));
  },
});
