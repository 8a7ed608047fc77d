import { describe, expect, it } from "vitest";
import { slotNumber } from "../../src/base/units.ts";
import type { ChannelEvent, ChannelState } from "../../src/messages/channel.ts";
import { newChannel, stepChannel } from "../../src/messages/channel.ts";
import type { ClusterMessage } from "../../src/messages/message.ts";
import { ChannelWorld } from "./channel-world.ts";

const remark = (from: number, number: number): ClusterMessage => ({
  type: "metadata_updated",
  from: slotNumber(from),
  number,
});

const numberOf = (message: ClusterMessage): number => (message.type === "metadata_updated" ? message.number : -1);

const atRest = { sending: "idle", receiving: "listening", asked: false, outgoing: null };

function talk(world: ChannelWorld, nodes: number): ClusterMessage[] {
  const all: ClusterMessage[] = [];
  for (let i = 0, sections = 1 + world.random.below(8); i < sections; i++) {
    const from = world.random.below(nodes);
    const section = Array.from({ length: world.random.below(4) }, () => {
      const message = remark(from, all.length);
      all.push(message);
      return message;
    });
    world.send(from, section);
  }
  return all;
}

describe("message channel over the lock server", () => {
  it("gives every message to every other node once, in one order, and comes to rest (200 seeds, 2 to 5 nodes)", () => {
    for (let seed = 0; seed < 200; seed++) {
      const world = new ChannelWorld(seed);
      const nodes = 2 + world.random.below(4);
      for (let i = 0; i < nodes; i++) world.add();
      world.run();
      const all = talk(world, nodes);
      if (seed % 3 === 0) world.cancelToken(world.random.below(nodes));
      world.run();
      expect(world.published.length, `seed ${seed}`).toBe(all.length);
      for (const node of world.nodes) {
        const expected = world.published.filter((message) => message.from !== node.slot);
        expect(world.delivered[node.slot], `seed ${seed} node ${node.slot}`).toEqual(expected);
        expect(node.state, `seed ${seed} node ${node.slot}`).toMatchObject(atRest);
      }
    }
  });

  it("does so while nodes join in the middle of it (200 seeds)", () => {
    for (let seed = 1000; seed < 1200; seed++) {
      const world = new ChannelWorld(seed);
      world.add();
      world.add();
      const all = talk(world, 2);
      const late = world.add();
      world.run();
      expect(world.published.length, `seed ${seed}`).toBe(all.length);
      for (const node of world.nodes) {
        const heard = world.delivered[node.slot] ?? [];
        // The newcomer has missed what was said before it listened, and nothing after.
        const expected = world.published.filter((message) => message.from !== node.slot);
        expect(heard, `seed ${seed}`).toEqual(
          node === late ? expected.slice(expected.length - heard.length) : expected,
        );
        expect(node.state).toMatchObject(atRest);
      }
    }
  });

  it("survives the death of a node at any step (600 seeds, 3 to 5 nodes)", () => {
    for (let seed = 0; seed < 600; seed++) {
      const world = new ChannelWorld(seed);
      const nodes = 3 + world.random.below(3);
      for (let i = 0; i < nodes; i++) world.add();
      // Now and then it dies while it joins.
      if (seed % 4 !== 0) world.run();
      const all = talk(world, nodes);
      const victim = world.random.below(nodes);
      world.run(victim, world.random.below(200));
      const survivors = world.nodes.filter((node) => node.slot !== victim);
      const ofSurvivors = all.filter((message) => message.from !== victim);
      for (const message of ofSurvivors) expect(world.published, `seed ${seed}`).toContain(message);
      for (const node of survivors) {
        expect(node.state, `seed ${seed} node ${node.slot}`).toMatchObject(atRest);
        const heard = world.delivered[node.slot] ?? [];
        expect(new Set(heard.map(numberOf)).size, `seed ${seed}: heard twice`).toBe(heard.length);
        // What everybody is told to have processed, everybody has; of the victim's last words some may lack.
        const told = heard.filter((message) => world.published.map(numberOf).includes(numberOf(message)));
        const expected = world.published.filter((message) => message.from !== node.slot);
        const joinedInTime = seed % 4 !== 0;
        expect(told, `seed ${seed} node ${node.slot}`).toEqual(
          joinedInTime ? expected : expected.slice(expected.length - told.length),
        );
      }
    }
  });

  it("replays the same from the same seed", () => {
    const run = (): ClusterMessage[][] => {
      const world = new ChannelWorld(7);
      for (let i = 0; i < 3; i++) world.add();
      talk(world, 3);
      world.run(2, 60);
      return world.delivered;
    };
    expect(run()).toEqual(run());
  });
});

describe("one step of the channel", () => {
  const own = slotNumber(1);
  const feed = (state: ChannelState, ...events: ChannelEvent[]): ChannelState =>
    events.reduce((before, event) => stepChannel(before, event)[0], state);
  const granted = (lock: "token" | "message" | "ack", mode: "NL" | "CR" | "EX" | "PR" | "CW"): ChannelEvent => ({
    type: "granted",
    lock,
    mode,
    value: null,
  });
  const joined = feed(newChannel(own), { type: "acquire" }, granted("token", "EX"), granted("ack", "CR"));
  const listening = feed(joined, { type: "release" }, granted("token", "NL"), { type: "listen" });
  const bast = (wanted: "EX" | "CR"): ChannelEvent => ({ type: "bast", lock: "ack", wanted });
  const read = (message: ClusterMessage, sequence: number, valid = true): ChannelEvent => ({
    type: "granted",
    lock: "message",
    mode: "CR",
    value: { valid, frame: { message, sequence } },
  });

  it("takes ack under the token and only then counts as joined", () => {
    const [, effects] = stepChannel(feed(newChannel(own), { type: "acquire" }), granted("token", "EX"));
    expect(effects).toEqual([{ type: "convert", lock: "ack", mode: "CR" }]);
    expect(joined).toMatchObject({ sending: "held", receiving: "deaf" });
  });

  it("remembers a bast that comes before it can process", () => {
    const deaf = feed(joined, { type: "release" }, granted("token", "NL"), bast("EX"));
    expect(deaf).toMatchObject({ receiving: "deaf", asked: true });
    const [, effects] = stepChannel(deaf, { type: "listen" });
    expect(effects).toEqual([{ type: "convert", lock: "message", mode: "CR" }]);
  });

  it("ignores bast(CR), which a receiver that re-arms early causes (M02)", () => {
    expect(stepChannel(listening, bast("CR"))).toEqual([listening, []]);
  });

  it("acknowledges a message with an invalid value block without delivering it (M04)", () => {
    const [state, effects] = stepChannel(feed(listening, bast("EX")), read(remark(0, 3), 9, false));
    expect(state.receiving).toBe("acknowledging");
    expect(effects).toEqual([
      { type: "skip", reason: "invalid" },
      { type: "convert", lock: "ack", mode: "NL" },
    ]);
  });

  it("does not deliver the same sequence number of the same sender twice", () => {
    const once = feed(listening, bast("EX"), read(remark(0, 3), 9), { type: "processed" }, granted("ack", "NL"));
    const again = feed(once, granted("message", "PR"), granted("ack", "CR"), granted("message", "NL"), bast("EX"));
    expect(stepChannel(again, read(remark(0, 3), 9))[1]).toContainEqual({ type: "skip", reason: "repeated" });
    expect(stepChannel(again, read(remark(2, 3), 9))[1]).toContainEqual({ type: "deliver", message: remark(2, 3) });
    expect(stepChannel(again, read(remark(0, 3), 10))[1]).toContainEqual({ type: "deliver", message: remark(0, 3) });
  });

  it("numbers its message differently from the one before it, even if that one is invalid", () => {
    const speaking = feed(listening, { type: "acquire" }, granted("token", "EX"), {
      type: "publish",
      message: remark(1, 5),
    });
    const [, effects] = stepChannel(speaking, {
      type: "granted",
      lock: "message",
      mode: "EX",
      value: { valid: false, frame: { message: remark(0, 1), sequence: 41 } },
    });
    expect(effects).toEqual([
      { type: "convert", lock: "message", mode: "CW", frame: { message: remark(1, 5), sequence: 42 } },
    ]);
  });

  it("processes messages while it waits for the token, and runs its section only when that is done", () => {
    const waiting = feed(listening, { type: "acquire" }, bast("EX"), read(remark(0, 3), 9));
    expect(waiting).toMatchObject({ sending: "awaiting_token", receiving: "processing" });
    const [held, effects] = stepChannel(waiting, granted("token", "EX"));
    expect(held.sending).toBe("awaiting_quiet");
    expect(effects).toEqual([]);
    const quiet = feed(
      held,
      { type: "processed" },
      granted("ack", "NL"),
      granted("message", "PR"),
      granted("ack", "CR"),
    );
    expect(stepChannel(quiet, granted("message", "NL"))[1]).toEqual([{ type: "token_held" }]);
  });
});
