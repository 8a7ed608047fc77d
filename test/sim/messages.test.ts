import { describe, expect, it } from "vitest";
import { slotNumber } from "../../src/base/units.ts";
import { joinLockspace } from "../../src/dlm/lockspace-client.ts";
import { MessageBus } from "../../src/messages/message-bus.ts";
import { LeaseChecker } from "../../src/sim/checkers/lease.ts";
import { TokenChecker } from "../../src/sim/checkers/token.ts";
import { observeListener, observeLockspace } from "../../src/sim/observed-lockspace.ts";
import { SimLockServer } from "../../src/sim/sim-lock-server.ts";
import { SimProcess } from "../../src/sim/sim-process.ts";
import { World } from "../../src/sim/world.ts";

const LEASE_MS = 1000;

interface Speaker {
  readonly process: SimProcess;
  /** What it heard, as `from/number`. */
  readonly heard: string[];
  /** Numbers of its own messages that all others acknowledged. */
  readonly said: number[];
  failed: boolean;
}

/** Nodes that only talk: lockspace client and message bus over links that break, without an array. */
class Talk {
  readonly world: World;
  readonly server: SimLockServer;
  readonly speakers: Speaker[] = [];
  #numbers = 0;

  constructor(seed: number) {
    this.world = new World(seed);
    this.server = new SimLockServer(this.world);
    const report = (text: string): void => this.world.violation(text);
    for (const checker of [new TokenChecker(report), new LeaseChecker(report)]) {
      this.world.observe((event) => checker.observe(event));
    }
  }

  start(name: string, messages: number): Speaker {
    const process = new SimProcess(this.world, name, this.server, []);
    const speaker: Speaker = { process, heard: [], said: [], failed: false };
    this.speakers.push(speaker);
    this.world.schedule(0, process.control, () => {
      void this.#live(speaker, name, messages).catch((error: unknown) => {
        speaker.failed = true;
        this.world.trace.note(this.world.now, `${name} gives up: ${String(error)}`);
      });
    });
    return speaker;
  }

  async #live(speaker: Speaker, name: string, messages: number): Promise<void> {
    const { process } = speaker;
    const { env, link, life } = process;
    const listener = {
      recoverPrep: () => {},
      recoverSlot: () => {},
      recoverDone: () => {},
      fenced: () => process.kill("fenced"),
    };
    const lockspace = observeLockspace(
      await joinLockspace({
        master: link,
        name: "array",
        cluster: "sim",
        node: name,
        slots: 4,
        lease: { leaseMs: LEASE_MS },
        env,
        listener: observeListener(listener, this.world, life),
        leaseSink: (deadline) => {
          process.leaseDeadline = deadline;
        },
      }),
      this.world,
      life,
    );
    this.world.emit({ type: "joined", life, slot: lockspace.slot });
    const bus = await MessageBus.open(lockspace, env, (message) => {
      if (message.type === "metadata_updated") speaker.heard.push(`${message.from}/${message.number}`);
      return Promise.resolve(null);
    });
    await bus.join(() => Promise.resolve());
    bus.listen();
    for (let i = 0; i < messages; i++) {
      const number = ++this.#numbers;
      await bus.send(() => ({ type: "metadata_updated", from: slotNumber(lockspace.slot), number }));
      speaker.said.push(number);
    }
  }
}

const isSubsequence = (part: readonly string[], whole: readonly string[]): boolean => {
  let at = 0;
  for (const item of whole) if (item === part[at]) at++;
  return at === part.length;
};

describe("messages between simulated nodes", () => {
  it("reach every other node once and in one order, over links that delay, lose and repeat wake-ups", async () => {
    for (let seed = 0; seed < 40; seed++) {
      const talk = new Talk(seed);
      const speakers = ["n1", "n2", "n3"].map((name) => talk.start(name, 5));
      const done = (): boolean => speakers.every(({ said, failed }) => failed || said.length === 5);
      expect(await talk.world.run(60_000, done), `seed ${seed}\n${talk.world.trace.tail(40).join("\n")}`).toBe(true);
      expect(talk.world.violations).toEqual([]);
      expect(speakers.map(({ failed }) => failed)).toEqual([false, false, false]);
      const orders = speakers.map(({ heard }) => heard);
      for (const heard of orders) {
        expect(new Set(heard).size).toBe(heard.length);
        for (const other of orders) {
          const shared = heard.filter((message) => other.includes(message));
          expect(isSubsequence(shared, other), `seed ${seed}: ${heard.join()} and ${other.join()}`).toBe(true);
        }
      }
    }
  });

  it("go on when a node is killed at any moment, and its messages are heard by all or by none who were acked", async () => {
    for (let seed = 0; seed < 60; seed++) {
      const talk = new Talk(seed);
      const speakers = ["n1", "n2", "n3"].map((name) => talk.start(name, 30));
      const [victim] = speakers;
      const { world } = talk;
      world.schedule(world.random.between(0, 200), null, () => victim?.process.kill("killed"));
      const others = speakers.slice(1);
      const done = (): boolean => others.every(({ said }) => said.length === 30);
      expect(await world.run(60_000, done), `seed ${seed}\n${world.trace.tail(60).join("\n")}`).toBe(true);
      expect(world.violations).toEqual([]);
    }
  });

  it("survive links that are cut for less than a lease; a node cut off for longer is fenced and the others go on", async () => {
    for (let seed = 0; seed < 60; seed++) {
      const talk = new Talk(seed);
      const speakers = ["n1", "n2", "n3"].map((name) => talk.start(name, 40));
      const [victim] = speakers;
      const { world } = talk;
      const long = seed % 2 === 0;
      world.schedule(world.random.between(20, 200), null, () => victim?.process.link.cut());
      world.schedule(long ? 5000 : 500, null, () => victim?.process.link.heal());
      const done = (): boolean =>
        speakers.every(({ said, failed, process }) => failed || process.ended || said.length === 40);
      expect(await world.run(60_000, done), `seed ${seed}\n${world.trace.tail(60).join("\n")}`).toBe(true);
      expect(world.violations).toEqual([]);
      for (const speaker of long ? speakers.slice(1) : speakers) expect(speaker.said, `seed ${seed}`).toHaveLength(40);
    }
  });
});
