import { EXCLUSIVE } from "../../cluster/exclusive-use.ts";
import type { LockRecord, LockReply } from "../../dlm/lock-call.ts";
import { type LockMode, lockModes } from "../../dlm/lock-mode.ts";
import { engineCounters, type SharedBlock } from "../../engine/shared-block.ts";

/** What each member holds of a resource when nothing is said, copied or changed (the table in ARCHITECTURE.md). */
function modeAtRest(resource: string, slot: number, clustered: boolean): readonly LockMode[] {
  const [, kind, number] = /^([a-z-]+?)(\d{4})?$/.exec(resource) ?? [];
  const isOwn = Number(number) === slot;
  if (kind === "bitmap") return isOwn ? ["PW"] : ["NL"];
  // Taken with the first refusal, and kept.
  if (kind === "result") return isOwn ? ["PW", "NL"] : ["NL"];
  if (resource === EXCLUSIVE && !clustered) return ["EX"];
  return everybodysAtRest.has(resource) ? ["CR"] : ["NL"];
}

/** Every member of an array holds these in CR; the only one of an array that is not clustered has it for itself. */
const everybodysAtRest: ReadonlySet<string> = new Set(["ack", "no-new-dev", EXCLUSIVE]);

const modeOf = (number: number): string => lockModes[number] ?? String(number);

const textOf = ({ slot, queue, gr, rq }: LockRecord): string => {
  const mode = modeOf(queue === "w" ? rq : gr);
  const waits = queue === "g" ? "" : queue === "w" ? " (waits)" : ` (wants ${modeOf(rq)})`;
  return `slot ${slot - 1} in ${mode}${waits}`;
};

/**
 * The lock server's dump of an array's lockspace. Returns locks that nobody needs at rest, or whose owner is no member; and
 * waits.
 */
export function judgeLocks({ members = [], resources = [] }: LockReply, clustered = true): readonly string[] {
  const live = new Set(members.map(({ slot }) => slot));
  const wrong: string[] = [];
  for (const { name, locks } of resources) {
    for (const lock of locks) {
      const held = lockModes[lock.gr] ?? "NL";
      const fits =
        lock.queue === "g" && live.has(lock.slot) && modeAtRest(name, lock.slot - 1, clustered).includes(held);
      if (!fits) wrong.push(`lock left over: ${name} by ${textOf(lock)}`);
    }
    for (const member of members) {
      const isOwner = name === `bitmap${String(member.slot - 1).padStart(4, "0")}`;
      const needed = isOwner || everybodysAtRest.has(name);
      if (needed && !locks.some(({ slot }) => slot === member.slot))
        wrong.push(`${member.node} has no lock on ${name}`);
    }
  }
  return wrong;
}

const counted = engineCounters.filter((name) => name === "inflight" || name.startsWith("waitingOn"));

/** Requests that a data plane has not answered although nobody asks for anything any more. */
export const judgeRequests = (life: string, shared: SharedBlock, commands: number): readonly string[] => [
  ...counted.flatMap((name) => {
    const count = shared.read(name);
    return count === 0 ? [] : [`${life} has a request left: ${name} is ${count}`];
  }),
  ...(commands === 0 ? [] : [`${life}: its data plane has not answered ${commands} commands`]),
];
