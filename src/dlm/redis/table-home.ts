import { MdError } from "../../base/md-error.ts";
import type { RedisLink } from "./redis-link.ts";

export interface Arbiter {
  readonly about: string;
  readonly link: RedisLink;
}

const keyOf = (cluster: string): string => `mdlm:{${cluster}}:table`;

/**
 * Which server keeps a cluster's lock tables is a matter of configuration: the first of the list. That all nodes have
 * the same first is made sure here, before anybody joins: each node writes it down on all servers of the list, where
 * nothing else stands, and goes on only if a majority of them has it. Two majorities share a server: two nodes with
 * different first servers cannot both join. Rejects with E_CLUSTER_CONFLICT or E_NO_QUORUM.
 */
export async function confirmTableHome(cluster: string, home: string, arbiters: readonly Arbiter[]): Promise<void> {
  const key = keyOf(cluster);
  const answers = await Promise.allSettled(arbiters.map(({ link }) => link.send("SET", key, home, "NX", "GET")));
  const silent: string[] = [];
  answers.forEach((answer, at) => {
    const about = arbiters[at]?.about ?? "";
    if (answer.status === "rejected") {
      const reason: unknown = answer.reason;
      silent.push(reason instanceof MdError && reason.why !== null ? `${about} (${reason.why})` : about);
    } else if (answer.value !== null && answer.value !== home) {
      throw new MdError(
        "E_CLUSTER_CONFLICT",
        `cluster ${cluster} keeps its lock tables on ${String(answer.value)}, not on ${home}`,
        {
          why: `so says ${about}; every node must be given the same servers, the same one first and written alike`,
          hint: `to move them, stop all daemons, then on every server: redis-cli del '${key}'`,
        },
      );
    }
  });
  if (2 * (arbiters.length - silent.length) > arbiters.length) return;
  throw new MdError(
    "E_NO_QUORUM",
    `joining cluster ${cluster} needs a majority of its ${arbiters.length} lock servers`,
    {
      why: `no answer from ${silent.join(", ")}`,
      hint: "start them; nodes that have joined go on with the first server alone",
    },
  );
}
