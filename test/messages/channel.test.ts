import { describe, expect, it } from "vitest";
import { slotNumber } from "../../src/base/units.ts";
import { stepChannel } from "../../src/messages/channel.ts";
import type { ChannelEffect, ChannelEvent, ChannelState, ConvertStep } from "../../src/messages/channel-state.ts";
import { newChannel } from "../../src/messages/channel-state.ts";
import type { ClusterMessage, MessageId } from "../../src/messages/message.ts";
import type { MessageFrame } from "../../src/messages/message-codec.ts";
import { ChannelWorld } from "./channel-world.ts";

const remark = (from: number, number: number): ClusterMessage => ({
  type: "metadata_updated",
  from: slotNumber(from),
  number,
});

const numberOf = (message: ClusterMessage): number => (message.type === "metadata_updated" ? message.number : -1);

const atRest = { sending: "idle", receiving: "listening", asked: false, armed: false, outgoing: null };

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
  it("26.1, 26.2: gives every message to every other node once, in one order, and comes to rest (200 seeds, 2 to 5 nodes)", () => {
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

  it("27.20: survives the death of a node at any step (600 seeds, 3 to 5 nodes)", () => {
    for (let seed = 0; seed < 600; seed++) {
      const world = new ChannelWorld(seed);
      const nodes = 3 + world.random.below(3);
      for (let i = 0; i < nodes; i++) world.add();
      // Now and then it dies while it joins.
      if (seed % 4 !== 0) world.run();
      const all = talk(world, nodes);
      const victim = world.random.below(nodes);
      // Who is late reads nothing for as long as it takes to notice the death.
      const late = (victim + 1 + world.random.below(nodes - 1)) % nodes;
      if (seed % 3 === 0) world.stall(late, true);
      world.run(victim, world.random.below(200));
      world.stall(late, false);
      const survivors = world.nodes.filter((node) => node.slot !== victim);
      // Whoever takes over says something, and all others must hear what was said before.
      const next = survivors.find(({ slot }) => slot !== late)?.slot ?? late;
      world.send(next, [remark(next, 1000)]);
      world.run();
      const ofSurvivors = all.filter((message) => message.from !== victim);
      for (const message of ofSurvivors) expect(world.published, `seed ${seed}`).toContain(message);
      for (const node of survivors) {
        expect(node.state, `seed ${seed} node ${node.slot}`).toMatchObject(atRest);
        const heard = world.delivered[node.slot] ?? [];
        expect(new Set(heard.map(numberOf)).size, `seed ${seed}: heard twice`).toBe(heard.length);
        // What everybody is told to have processed, everybody has.
        const told = heard.filter((message) => world.published.map(numberOf).includes(numberOf(message)));
        const expected = world.published.filter((message) => message.from !== node.slot);
        const joinedInTime = seed % 4 !== 0;
        expect(told, `seed ${seed} node ${node.slot}`).toEqual(
          joinedInTime ? expected : expected.slice(expected.length - told.length),
        );
        // The victim's last words too: all have heard them, or nobody.
        const lastWords = (slot: number): number[] =>
          (world.delivered[slot] ?? []).filter(({ from }) => from === victim).map(numberOf);
        if (joinedInTime) expect(lastWords(node.slot), `seed ${seed} node ${node.slot}`).toEqual(lastWords(next));
      }
    }
  });

  /** One message from node 0 to nodes 1 and 2; `victim` dies at its n-th call of it. */
  function dieInMessage(seed: number, victim: number, calls: number, executed: boolean): ChannelWorld {
    const world = new ChannelWorld(seed);
    for (let i = 0; i < 3; i++) world.add();
    world.run();
    const node = world.nodes[victim];
    if (node !== undefined) node.death = { calls, executed };
    world.send(0, [remark(0, 1)]);
    world.run();
    return world;
  }

  it.each([0, 1, 2].flatMap((calls) => [false, true].map((executed) => ({ calls, executed }))))(
    "lets the others go on when the sender dies at call $calls (executed: $executed) (F42, M05)",
    ({ calls, executed }) => {
      for (let seed = 0; seed < 20; seed++) {
        const world = dieInMessage(seed, 0, calls, executed);
        expect(world.nodes[0]?.alive, `seed ${seed}`).toBe(false);
        // Before the second call nothing was said; with it everything was.
        const heard = calls > 1 || (calls === 1 && executed) ? [remark(0, 1)] : [];
        expect(world.delivered.slice(1), `seed ${seed}`).toEqual([heard, heard]);
        world.send(1, [remark(1, 2)]);
        world.run();
        expect(world.delivered[2], `seed ${seed}`).toEqual([...heard, remark(1, 2)]);
        for (const node of world.nodes.slice(1)) expect(node.state, `seed ${seed}`).toMatchObject(atRest);
      }
    },
  );

  it.each([0, 1, 2, 3].flatMap((calls) => [false, true].map((executed) => ({ calls, executed }))))(
    "lets the others go on when a receiver dies at call $calls (executed: $executed) (F42)",
    ({ calls, executed }) => {
      for (let seed = 0; seed < 20; seed++) {
        const world = dieInMessage(seed, 2, calls, executed);
        expect(world.nodes[2]?.alive, `seed ${seed}`).toBe(false);
        expect(world.published, `seed ${seed}`).toEqual([remark(0, 1)]);
        world.send(1, [remark(1, 2)]);
        world.run();
        expect(world.delivered.slice(0, 2), `seed ${seed}`).toEqual([[remark(1, 2)], [remark(0, 1)]]);
        for (const node of world.nodes.slice(0, 2)) expect(node.state, `seed ${seed}`).toMatchObject(atRest);
      }
    },
  );

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
  type Mode = ConvertStep["mode"];
  const ended = (half: "sending" | "receiving", ...modes: Mode[]): ChannelEvent => ({
    type: "converted",
    half,
    results: modes.map((mode) => ({ mode, value: null })),
  });
  const sent = (...modes: Mode[]): ChannelEvent => ended("sending", ...modes);
  const received = (...modes: Mode[]): ChannelEvent => ended("receiving", ...modes);
  const converts = (half: "sending" | "receiving", ...steps: ConvertStep[]): ChannelEffect => ({
    type: "convert",
    half,
    steps,
  });
  const joined = feed(newChannel(own), { type: "acquire" }, sent("EX", "CR", "EX"));
  const listening = feed(joined, { type: "release" }, sent("NL", "NL"), { type: "listen" });
  const bast = (wanted: "EX" | "CR"): ChannelEvent => ({ type: "bast", lock: "ack", wanted });
  const read = (message: ClusterMessage, sequence: number, valid = true): ChannelEvent => ({
    type: "converted",
    half: "receiving",
    results: [{ mode: "CR", value: { valid, frame: { message, sequence } } }],
  });
  const delivers = (message: ClusterMessage, orphaned = false): ChannelEffect => ({
    type: "deliver",
    message,
    orphaned,
  });
  /** The token, which says what all have heard, and `message` with what was said last. */
  const took = (settled: MessageId | null, frame: MessageFrame | null, valid = true): ChannelEvent => ({
    type: "converted",
    half: "sending",
    results: [
      { mode: "EX", value: null, settled },
      { mode: "EX", value: frame === null ? null : { valid, frame } },
    ],
  });
  const publish = (last: boolean, settled = false): ChannelEvent => {
    return { type: "publish", message: remark(1, 5), last, settled };
  };

  it("takes ack under the token and only then counts as joined", () => {
    const [, effects] = stepChannel(newChannel(own), { type: "acquire" });
    const [token, ack, message] = (["token", "ack", "message"] as const).map(
      (lock): ConvertStep => ({ lock, mode: lock === "ack" ? "CR" : "EX" }),
    );
    expect(effects).toEqual([converts("sending", token as ConvertStep, ack as ConvertStep, message as ConvertStep)]);
    expect(joined).toMatchObject({ sending: "held", receiving: "deaf" });
  });

  it("takes token and `message` at once where it need not wait, and gives them back together (two sender calls and one)", () => {
    const [trying, first] = stepChannel(listening, { type: "acquire" });
    const token: ConvertStep = { lock: "token", mode: "EX", noqueue: true };
    expect(first).toEqual([converts("sending", token, { lock: "message", mode: "EX" })]);
    const [held, effects] = stepChannel(trying, sent("EX", "EX"));
    expect(effects).toEqual([{ type: "token_held" }]);
    const [speaking, second] = stepChannel(held, publish(true));
    const frame = { message: remark(1, 5), sequence: 1 };
    expect(second).toEqual([converts("sending", { lock: "message", mode: "CW", frame }, { lock: "ack", mode: "EX" })]);
    const [closing, third] = stepChannel(speaking, sent("CW", "EX"));
    const giveBack = (["ack", "message", "token"] as const).map(
      (lock): ConvertStep => ({
        lock,
        mode: lock === "ack" ? "CR" : "NL",
        ...(lock === "token" ? { settled: { from: own, sequence: 1 } } : {}),
      }),
    );
    expect(third).toEqual([{ type: "published" }, converts("sending", ...giveBack)]);
    const [rest, released] = stepChannel(closing, sent("CR", "NL", "NL"));
    expect(released).toEqual([{ type: "released" }]);
    expect(rest).toMatchObject(atRest);
  });

  it("waits for the token alone where somebody else has it, and answers him meanwhile", () => {
    const trying = feed(listening, { type: "acquire" }, bast("EX"));
    expect(trying).toMatchObject({ sending: "trying", asked: true });
    const [waiting, effects] = stepChannel(trying, sent("NL"));
    expect(waiting).toMatchObject({ sending: "awaiting_token", receiving: "reading", asked: false });
    expect(effects).toEqual([
      converts("sending", { lock: "token", mode: "EX" }),
      converts("receiving", { lock: "message", mode: "CR" }),
    ]);
  });

  it("holds the token although the wait was given up while it asked for `message`, and asks for that again", () => {
    const [arming, effects] = stepChannel(feed(listening, { type: "acquire" }), sent("EX", "NL"));
    expect(effects).toEqual([converts("sending", { lock: "message", mode: "EX" })]);
    const [held, then] = stepChannel(arming, sent("EX"));
    expect(held).toMatchObject({ sending: "held", armed: true });
    expect(then).toEqual([{ type: "token_held" }]);
  });

  it("keeps the token for a section that may say more, and gives `message` back after each message", () => {
    const held = feed(listening, { type: "acquire" }, sent("EX", "EX"));
    const spoken = feed(held, publish(false), sent("CW", "EX"), sent("CR", "NL"));
    expect(spoken).toMatchObject({ sending: "held", armed: false, outgoing: null });
    expect(stepChannel(spoken, publish(false))[1]).toEqual([converts("sending", { lock: "message", mode: "EX" })]);
    const token: ConvertStep = { lock: "token", mode: "NL", settled: { from: own, sequence: 1 } };
    expect(stepChannel(spoken, { type: "release" })[1]).toEqual([converts("sending", token)]);
    expect(stepChannel(held, { type: "release" })[1]).toEqual([
      converts("sending", { lock: "message", mode: "NL" }, { lock: "token", mode: "NL" }),
    ]);
  });

  it("asks for `message` again where it is to be settled everywhere, and then has it for what it says next", () => {
    const held = feed(listening, { type: "acquire" }, sent("EX", "EX"));
    const [asking, effects] = stepChannel(feed(held, publish(false, true), sent("CW", "EX")), sent("CR", "NL"));
    expect(effects).toEqual([converts("sending", { lock: "message", mode: "EX" })]);
    const [settled, published] = stepChannel(asking, sent("EX"));
    expect(published).toEqual([{ type: "published" }]);
    expect(settled).toMatchObject({ sending: "held", armed: true, outgoing: null });
  });

  it("remembers a bast that comes before it can process", () => {
    const deaf = feed(joined, { type: "release" }, sent("NL", "NL"), bast("EX"));
    expect(deaf).toMatchObject({ receiving: "deaf", asked: true });
    const [, effects] = stepChannel(deaf, { type: "listen" });
    expect(effects).toEqual([converts("receiving", { lock: "message", mode: "CR" })]);
  });

  it("ignores bast(CR), which a receiver that re-arms early causes (M02)", () => {
    expect(stepChannel(listening, bast("CR"))).toEqual([listening, []]);
  });

  it("acknowledges a message with an invalid value block without delivering it (M04)", () => {
    const [state, effects] = stepChannel(feed(listening, bast("EX")), read(remark(0, 3), 9, false));
    expect(state.receiving).toBe("acknowledging");
    expect(effects).toEqual([
      { type: "skip", reason: "invalid" },
      converts("receiving", { lock: "ack", mode: "NL" }, { lock: "message", mode: "PR" }),
    ]);
  });

  it("takes `ack` again before it lets go of `message`, in calls of their own (M03)", () => {
    const processing = feed(listening, bast("EX"), read(remark(0, 3), 9));
    const [settling, effects] = stepChannel(feed(processing, { type: "processed" }), received("NL", "PR"));
    expect(effects).toEqual([{ type: "settle" }]);
    const [rearming, then] = stepChannel(settling, { type: "settled" });
    expect(then).toEqual([converts("receiving", { lock: "ack", mode: "CR" })]);
    const [closing, more] = stepChannel(rearming, received("CR"));
    expect(more).toEqual([converts("receiving", { lock: "message", mode: "NL" })]);
    expect(stepChannel(closing, received("NL"))[0]).toMatchObject({ receiving: "listening" });
  });

  it("takes a conversion deadlock on `message` as the end of the sender", () => {
    const processed = feed(listening, bast("EX"), read(remark(0, 3), 9), { type: "processed" });
    expect(stepChannel(processed, received("NL", "CR"))[1]).toContainEqual({ type: "settle" });
  });

  it("does not deliver the same sequence number of the same sender twice", () => {
    const once = feed(listening, bast("EX"), read(remark(0, 3), 9), { type: "processed" }, received("NL", "PR"));
    const again = feed(once, { type: "settled" }, received("CR"), received("NL"), bast("EX"));
    expect(stepChannel(again, read(remark(0, 3), 9))[1]).toContainEqual({ type: "skip", reason: "repeated" });
    expect(stepChannel(again, read(remark(2, 3), 9))[1]).toContainEqual(delivers(remark(2, 3)));
    expect(stepChannel(again, read(remark(0, 3), 10))[1]).toContainEqual(delivers(remark(0, 3)));
    // Also when it meant to speak in between, and had nothing to say.
    const silent = feed(
      again,
      read(remark(0, 3), 9),
      received("NL", "PR"),
      { type: "settled" },
      received("CR"),
      received("NL"),
    );
    const asked = feed(
      silent,
      { type: "acquire" },
      sent("EX", "EX"),
      { type: "release" },
      sent("NL", "NL"),
      bast("EX"),
    );
    expect(stepChannel(asked, read(remark(0, 3), 9))[1]).toContainEqual({ type: "skip", reason: "repeated" });
  });

  it("numbers its message differently from the one before it, even if that one is invalid", () => {
    const before = { message: remark(0, 1), sequence: 41 };
    const held = feed(listening, { type: "acquire" }, took({ from: slotNumber(0), sequence: 41 }, before, false));
    const frame = { message: remark(1, 5), sequence: 42 };
    expect(stepChannel(held, publish(true))[1]).toEqual([
      converts("sending", { lock: "message", mode: "CW", frame }, { lock: "ack", mode: "EX" }),
    ]);
  });

  it("processes messages while it waits for the token, and runs its section only when that is done", () => {
    const waiting = feed(listening, { type: "acquire" }, sent("NL"), bast("EX"), read(remark(0, 3), 9));
    expect(waiting).toMatchObject({ sending: "awaiting_token", receiving: "processing" });
    const [held, effects] = stepChannel(waiting, sent("EX"));
    expect(held.sending).toBe("awaiting_quiet");
    expect(effects).toEqual([]);
    const quiet = feed(held, { type: "processed" }, received("NL", "PR"), { type: "settled" }, received("CR"));
    const [arming, asks] = stepChannel(quiet, received("NL"));
    expect(asks).toEqual([converts("sending", { lock: "message", mode: "EX" })]);
    expect(stepChannel(arming, sent("EX"))[1]).toEqual([{ type: "token_held" }]);
  });

  describe("a message that the token does not say all have heard", () => {
    const frame: MessageFrame = { message: remark(0, 3), sequence: 9 };
    const id: MessageId = { from: slotNumber(0), sequence: 9 };
    const before: MessageId = { from: slotNumber(2), sequence: 8 };
    const again = converts(
      "sending",
      { lock: "message", mode: "CW", frame: { ...frame, orphaned: true } },
      { lock: "ack", mode: "EX" },
    );
    const gives = (settled: MessageId): ChannelEffect => converts("sending", { lock: "token", mode: "NL", settled });

    it.each([before, null])(
      "is processed by who takes the token, said again, settled, and then is known (token: %j)",
      (settled) => {
        const [hearing, first] = stepChannel(feed(listening, { type: "acquire" }), took(settled, frame));
        expect(first).toEqual([delivers(remark(0, 3), true)]);
        const [repeating, second] = stepChannel(hearing, { type: "processed" });
        expect(second).toEqual([again]);
        const [closing, third] = stepChannel(repeating, sent("CW", "EX"));
        expect(third).toEqual([converts("sending", { lock: "ack", mode: "CR" }, { lock: "message", mode: "NL" })]);
        const [settling, fourth] = stepChannel(closing, sent("CR", "NL"));
        expect(fourth).toEqual([{ type: "settle" }]);
        const [held, fifth] = stepChannel(settling, { type: "settled" });
        expect(fifth).toEqual([{ type: "token_held" }]);
        expect(stepChannel(held, { type: "release" })[1]).toEqual([gives(id)]);
      },
    );

    it("is only said again by who has heard it", () => {
      const heard = feed(listening, bast("EX"), read(remark(0, 3), 9), { type: "processed" }, received("NL", "PR"));
      const rest = feed(heard, { type: "settled" }, received("CR"), received("NL"), { type: "acquire" });
      const [repeating, effects] = stepChannel(rest, took(before, frame));
      expect(effects).toEqual([again]);
      expect(stepChannel(feed(repeating, sent("CW", "EX")), sent("CR", "NL"))[1]).toEqual([{ type: "token_held" }]);
    });

    it("is said again by who joins, who never hears it", () => {
      const [joining] = stepChannel(newChannel(own), { type: "acquire" });
      const results = [
        { mode: "EX", value: null, settled: before },
        { mode: "CR", value: null },
      ] as const;
      const took: ChannelEvent = {
        type: "converted",
        half: "sending",
        results: [...results, { mode: "EX", value: { valid: true, frame } }],
      };
      const [repeating, effects] = stepChannel(joining, took);
      expect(effects).toEqual([again]);
      const member = feed(repeating, sent("CW", "EX"), sent("CR", "NL"), { type: "release" }, sent("NL"), {
        type: "listen",
      });
      expect(stepChannel(feed(member, bast("EX")), read(remark(0, 3), 9))[1]).toContainEqual({
        type: "skip",
        reason: "repeated",
      });
    });

    it("is skipped where something later was heard, and delivered where not", () => {
      const once = feed(listening, bast("EX"), read(remark(2, 4), 10), { type: "processed" }, received("NL", "PR"));
      const rest = feed(once, { type: "settled" }, received("CR"), received("NL"), bast("EX"));
      const reads = (sequence: number): ChannelEvent => ({
        type: "converted",
        half: "receiving",
        results: [{ mode: "CR", value: { valid: true, frame: { ...frame, sequence, orphaned: true } } }],
      });
      expect(stepChannel(rest, reads(9))[1]).toContainEqual({ type: "skip", reason: "repeated" });
      expect(stepChannel(rest, reads(11))[1]).toContainEqual(delivers(remark(0, 3), true));
    });

    it("is waited for in the same way after a wait for the token", () => {
      const arming = feed(listening, { type: "acquire" }, sent("NL"), {
        type: "converted",
        half: "sending",
        results: [{ mode: "EX", value: null, settled: before }],
      });
      expect(arming.sending).toBe("arming");
      const taken: ChannelEvent = {
        type: "converted",
        half: "sending",
        results: [{ mode: "EX", value: { valid: true, frame } }],
      };
      expect(stepChannel(arming, taken)[1]).toEqual([delivers(remark(0, 3), true)]);
    });
  });
});
