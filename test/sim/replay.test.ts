import { beforeAll, describe, expect, it } from "vitest";
import { MemoryLockMaster } from "../../src/dlm/memory-lock-master.ts";
import type { Logger } from "../../src/env/logger.ts";
import { MessageBus } from "../../src/messages/message-bus.ts";
import { replayMachines } from "../../src/sim/replay/machine-lives.ts";
import { conversationOf, judgeConversations } from "../../src/sim/replay/messages-heard.ts";
import { parseTrace, type TraceRecord } from "../../src/sim/replay/parse-trace.ts";
import { type ReplayVerdict, replayTrace } from "../../src/sim/replay/replay.ts";
import { FakeClock } from "../support/fake-clock.ts";
import { envOf, joinRecorded } from "../support/lockspace-node.ts";

type Line = Record<string, unknown>;

/** Three nodes talk; what they tell of it, as lines of a trace. */
async function recorded(): Promise<readonly Line[]> {
  const clock = new FakeClock();
  const master = new MemoryLockMaster();
  const lines: Line[] = [];
  const wait = async <T>(work: Promise<T>): Promise<T> => {
    let done = false;
    void work.finally(() => {
      done = true;
    });
    while (!done) await clock.advance(10);
    return work;
  };
  const buses: MessageBus[] = [];
  for (const [slot, node] of ["n1", "n2", "n3"].entries()) {
    const ignore = (): void => {};
    const log: Logger = {
      tracing: true,
      trace: (fields) => lines.push(JSON.parse(JSON.stringify({ ...fields, node, array: "a", time: clock.now() }))),
      debug: ignore,
      info: ignore,
      warn: ignore,
      error: ignore,
      child: () => log,
    };
    const env = { ...envOf(clock, slot + 1), log };
    const { lockspace } = await wait(joinRecorded(master, env, node));
    const bus = await wait(MessageBus.open(lockspace, env, async () => null));
    await wait(bus.join(async () => {}));
    bus.listen();
    buses.push(bus);
  }
  for (let number = 1; number <= 3; number++) {
    await wait(
      Promise.all(buses.map((bus, slot) => bus.send(() => ({ type: "remove", from: slot as never, number })))),
    );
  }
  return lines.filter(({ evt }) => evt !== "message");
}

const parse = (lines: readonly Line[]): readonly TraceRecord[] =>
  parseTrace("x.trace", lines.map((line) => `${JSON.stringify(line)}\n`).join(""));
const replay = (lines: readonly Line[]): ReplayVerdict => replayTrace(parse(lines));

const brokenOf = ({ machines }: ReplayVerdict): readonly string[] =>
  machines.flatMap(({ node, broken }) => (broken === null ? [] : [`${node}: ${broken}`]));

const isStep = ({ evt, machine }: Line): boolean => evt === "machine.step" && machine === "channel";
const effectsOf = (line: Line): readonly { readonly type: string }[] =>
  (line["effects"] ?? []) as readonly { readonly type: string }[];
const delivers = (line: Line): boolean => effectsOf(line).some(({ type }) => type === "deliver");

describe("a replay of a recorded cluster", () => {
  let lines: readonly Line[];
  beforeAll(async () => {
    lines = await recorded();
  });

  it("finds each machine do what it did, and every message heard by all", () => {
    const verdict = replay(lines);
    expect(brokenOf(verdict)).toEqual([]);
    expect(verdict).toMatchObject({ ok: true, messages: { said: 9, heard: 18, wrong: [] }, holds: { conflicts: [] } });
    expect(verdict.machines.map(({ node, machine }) => `${node} ${machine}`)).toEqual([
      "n1 channel",
      "n2 channel",
      "n3 channel",
    ]);
    expect(verdict.holds.held).toBeGreaterThan(0);
  });

  it("reads what is whole of a file whose writer died, and says where another file makes no sense", () => {
    const text = lines.map((line) => `${JSON.stringify(line)}\n`).join("");
    expect(parseTrace("x", text.slice(0, -5))).toHaveLength(lines.length - 1);
    expect(() => parseTrace("x", `${text}what?\n{}`)).toThrow(`x, line ${lines.length + 1}: this is not JSON`);
    expect(() => parseTrace("x", '{"evt":"machine.step","machine":"channel"}\n')).toThrow(/without node, at and time/);
    expect(() => parseTrace("x", '{"evt":"lock.held","node":"n","at":1,"time":1,"mode":"QQ"}\n')).toThrow("x, line 1");
    expect(parseTrace("x", '{"level":"info","msg":"of a log"}\n')).toEqual([]);
  });

  it("finds a step that the machine would not have done, and where it is told", () => {
    const at = lines.findIndex((line) => isStep(line) && effectsOf(line).some(({ type }) => type === "convert"));
    const bent = lines.map((line, index) => (index === at ? { ...line, effects: [] } : line));
    expect(brokenOf(replay(bent)).join()).toContain(`(x.trace, line ${at + 1}): it did []`);
  });

  it("finds a step that is missing", () => {
    const at = lines.findIndex(delivers);
    const verdict = replay(lines.filter((_, index) => index !== at));
    expect(verdict.ok).toBe(false);
    expect(brokenOf(verdict).join()).toMatch(/the machine (refuses|does)/);
  });

  it("does not judge beyond a gap that the recording knows of", () => {
    const numbered = lines.map((line, n) => ({ ...line, n: n < 40 ? n : n + 7 }));
    expect(brokenOf(replay(numbered))).toContain("n1: records are missing before line 41");
  });

  it("finds a message that one node never heard", () => {
    const heard = replayMachines(parse(lines)).map(conversationOf);
    expect(judgeConversations(heard)).toEqual([]);
    const missing = heard.map((one) =>
      one.life.node === "n2" ? { ...one, heard: one.heard.filter((_, at) => at !== 2) } : one,
    );
    expect(judgeConversations(missing)).toEqual([expect.stringMatching(/^n2 .* missed message \d+, remove of n[13]$/)]);
  });

  it("finds messages that came in another order", () => {
    const heard = replayMachines(parse(lines)).map(conversationOf);
    const turned = heard.map((one) => (one.life.node === "n3" ? { ...one, heard: one.heard.toReversed() } : one));
    expect(judgeConversations(turned).join()).toMatch(/^n3 .* hears message \d+ after message \d+/);
  });

  it("finds a message that is another one elsewhere", () => {
    const at = lines.findIndex((line) => line["node"] === "n3" && delivers(line));
    const bent = lines.map((line, index) =>
      index === at ? JSON.parse(JSON.stringify(line).replaceAll('"type":"remove"', '"type":"re_add"')) : line,
    );
    expect(replay(bent).messages.wrong.join()).toMatch(/is remove for n\d, and re_add for n3/);
  });

  it("finds two nodes that held what excludes each other", () => {
    const token = lines.find(({ evt, lock, mode }) => evt === "lock.held" && lock === "token" && mode === "EX");
    const other = { ...token, node: token?.["node"] === "n1" ? "n2" : "n1", lkid: 4711 };
    const bent = lines.flatMap((line) => (line === token ? [line, other] : [line]));
    const { ok, holds } = replay(bent);
    expect(ok).toBe(false);
    expect(holds.conflicts.join()).toMatch(/token in EX while n\d \(?.*holds it in EX/);
  });
});
