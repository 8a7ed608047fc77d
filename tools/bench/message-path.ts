import type { LockCall, LockEvent, LockReply, LockspaceId } from "../../src/dlm/lock-call.ts";
import type { LockMaster } from "../../src/dlm/lock-master.ts";

type Step =
  | { readonly at: "start" }
  | { readonly at: "call"; readonly node: string; readonly id: number }
  | { readonly at: "reply"; readonly node: string; readonly id: number; readonly events: readonly LockEvent[] }
  | { readonly at: "events"; readonly node: string; readonly events: readonly LockEvent[] }
  | { readonly at: "end"; readonly node: string };

/**
 * Writes down what passes the LockMaster interface of each node and reads from it how long the chain of causes is that
 * a sender waits for. A request, a reply and an event on its way are one hop each, two hops are a round trip; an event
 * (it carries the `seq` at which it came about) continues the chain of the call that caused it.
 */
export class MessagePath {
  readonly #steps: Step[] = [];
  /** Calls by the `seq` that the server stood at after them. */
  readonly #executed: { readonly seq: number; readonly id: number }[] = [];
  #calls = 0;

  /** Renewals are not counted: they come with time, not with messages. */
  get calls(): number {
    return this.#calls;
  }

  observe(node: string, master: LockMaster): LockMaster {
    return {
      about: master.about,
      call: (lockspace, call) => this.#call(node, master, lockspace, call),
      watch: (lockspace, member, deliver) =>
        master.watch(lockspace, member, (events) => {
          this.#steps.push({ at: "events", node, events });
          deliver(events);
        }),
      onReachable: (listener) => master.onReachable(listener),
      close: () => master.close(),
    };
  }

  async #call(node: string, master: LockMaster, lockspace: LockspaceId, call: LockCall): Promise<LockReply> {
    if (call.op === "renew") return master.call(lockspace, call);
    const id = this.#calls++;
    this.#steps.push({ at: "call", node, id });
    const reply = await master.call(lockspace, call);
    this.#executed.push({ seq: reply.seq, id });
    this.#steps.push({ at: "reply", node, id, events: reply.events });
    return reply;
  }

  start(): void {
    this.#steps.push({ at: "start" });
  }

  end(node: string): void {
    this.#steps.push({ at: "end", node });
  }

  /** Round trips of each start to its end; all replies must have come. */
  roundTrips(): number[] {
    const causes = [...this.#executed].sort((a, b) => a.seq - b.seq || a.id - b.id);
    const causeOf = (event: LockEvent): number => causes[firstNotBelow(causes, event.seq)]?.id ?? -1;
    const clock = new Map<string, number>();
    const sent = new Map<number, number>();
    const found: number[] = [];
    const hear = (node: string, events: readonly LockEvent[], atLeast: number): void => {
      const hops = events.map((event) => (sent.get(causeOf(event)) ?? 0) + 1);
      clock.set(node, Math.max(clock.get(node) ?? 0, atLeast, ...hops));
    };
    for (const step of this.#steps) {
      if (step.at === "start") {
        clock.clear();
        sent.clear();
      } else if (step.at === "call") {
        sent.set(step.id, (clock.get(step.node) ?? 0) + 1);
      } else if (step.at === "reply") {
        hear(step.node, step.events, (sent.get(step.id) ?? 0) + 1);
      } else if (step.at === "events") {
        hear(step.node, step.events, 0);
      } else {
        found.push((clock.get(step.node) ?? 0) / 2);
      }
    }
    return found;
  }
}

function firstNotBelow(list: readonly { readonly seq: number }[], seq: number): number {
  let low = 0;
  let high = list.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((list[middle]?.seq ?? 0) < seq) low = middle + 1;
    else high = middle;
  }
  return low;
}
