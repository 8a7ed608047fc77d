import { describe, expect, it } from "vitest";
import { MdError } from "../../src/base/md-error.ts";
import type { LockMaster } from "../../src/dlm/lock-master.ts";
import { sleep } from "../../src/env/clock.ts";
import type { ClusterMessage } from "../../src/messages/message.ts";
import { MessageBus } from "../../src/messages/message-bus.ts";
import { FakeClock } from "../support/fake-clock.ts";
import { ForgetfulServer } from "../support/forgetful-server.ts";
import { envOf, joinRecorded, type RecordedNode } from "../support/lockspace-node.ts";

/** When the server loses everything: at a call on locks, before it is executed or when it was, without an answer. */
interface Loss {
  calls: number;
  readonly executed: boolean;
}

interface Talker extends RecordedNode {
  readonly bus: MessageBus;
  readonly heard: number[];
}

/** Three nodes that talk over a lock server that forgets everything in the middle of it. */
class Talk {
  readonly clock = new FakeClock();
  readonly server = new ForgetfulServer();
  readonly talkers: Talker[] = [];
  /** Numbers of messages by what was left to do when all have processed them: what each node had processed then. */
  readonly settled: { readonly number: number; readonly heard: number }[] = [];
  loss: Loss | null = null;
  lost = false;

  #master(): LockMaster {
    const { server } = this;
    // Who was cut short comes back late: the others may have begun something new by then.
    let late = false;
    return {
      about: server.about,
      call: async (lockspace, call) => {
        const isLockCall = call.op === "convert" || call.op === "batch";
        if (isLockCall && late) await sleep(this.clock, 100);
        if (isLockCall) late = false;
        const due = isLockCall && this.loss !== null && this.loss.calls-- === 0;
        if (!due) return server.call(lockspace, call);
        late = true;
        const executed = this.loss?.executed === true;
        if (executed) await server.call(lockspace, call);
        server.lose();
        this.lost = true;
        if (executed) throw new MdError("E_LOCK_SERVICE_LOST", "the answer is lost");
        return server.call(lockspace, call);
      },
      watch: (lockspace, member, deliver) => server.watch(lockspace, member, deliver),
      onReachable: () => server.onReachable(),
      close: () => server.close(),
    };
  }

  async add(name: string): Promise<Talker> {
    const env = envOf(this.clock, name.charCodeAt(0));
    const node = await this.wait(joinRecorded(this.#master(), env, name));
    const heard: number[] = [];
    const bus = await this.wait(
      MessageBus.open(node.lockspace, env, async (message) => {
        const { number } = message as ClusterMessage & { readonly number: number };
        heard.push(number);
        return async () => {
          const others = this.talkers.filter(({ lockspace }) => lockspace.slot !== message.from);
          this.settled.push({ number, heard: others.filter((other) => other.heard.includes(number)).length });
        };
      }),
    );
    await this.wait(bus.join(async () => {}));
    bus.listen();
    const talker = Object.assign(node, { bus, heard });
    this.talkers.push(talker);
    return talker;
  }

  async wait<T>(promise: Promise<T>): Promise<T> {
    let done = false;
    const mark = (): void => {
      done = true;
    };
    promise.then(mark, mark);
    for (let i = 0; !done && i < 2000; i++) await this.clock.advance(10);
    if (!done) throw new Error("nothing came of it");
    return promise;
  }
}

const remark = ({ lockspace }: Talker, number: number): ClusterMessage => ({
  type: "remove",
  from: lockspace.slot,
  number,
});

const moments = Array.from({ length: 12 }, (_, calls) => [false, true].map((executed) => ({ calls, executed }))).flat();

describe.each([
  ["a message", null],
  ["a message of a section that goes on", "processed"],
  ["a message that is to be settled everywhere", "settled"],
] as const)("a lock server that forgets everything in the middle of %s", (_, section) => {
  it.each(moments)(
    "at call $calls (executed: $executed): all hear it once, and nothing is settled early",
    async (loss) => {
      const talk = new Talk();
      const [a, b, c] = [await talk.add("a"), await talk.add("b"), await talk.add("c")];
      talk.loss = { ...loss };
      const until = section === "settled" ? section : undefined;
      const sent = section
        ? a.bus.withToken(async (send) => {
            await send(remark(a, 1), until);
            if (until) expect(talk.settled.filter(({ number }) => number === 1)).toHaveLength(2);
            await send(remark(a, 2), until);
            if (until) expect(talk.settled.filter(({ number }) => number === 2)).toHaveLength(2);
          })
        : a.bus.send(() => remark(a, 1)).then(() => a.bus.send(() => remark(a, 2)));
      const answer = b.bus.send(() => remark(b, 3));
      await talk.wait(Promise.all([sent, answer]));
      await talk.clock.advance(2000);
      expect(talk.lost).toBe(true);
      const said = c.heard;
      expect([...said].sort()).toEqual([1, 2, 3]);
      expect(said.indexOf(1)).toBeLessThan(said.indexOf(2));
      expect(a.heard).toEqual([3]);
      expect(b.heard).toEqual([1, 2]);
      // When what is left for afterwards runs anywhere, both receivers have processed the message.
      expect(talk.settled.map(({ heard }) => heard)).toEqual([2, 2, 2, 2, 2, 2]);
      for (const { bus, log } of talk.talkers) {
        expect(bus.phase).toEqual({ sending: "idle", receiving: "listening" });
        expect(log.filter((line) => /^(slot|fenced)/.test(line))).toEqual([]);
      }
    },
  );
});
