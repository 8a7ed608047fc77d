import { chmodSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { slotNumber } from "../../src/base/units.ts";
import type { LogFields, Logger } from "../../src/env/logger.ts";
import { realClock, realRandom } from "../../src/env/real-env.ts";
import { AgentFencer, type AgentOptions, checkAgent } from "../../src/fencing/agent-fencer.ts";
import { allOf } from "../../src/fencing/all-of.ts";
import { FakeAgent } from "../support/fake-agent.ts";
import { fenceAttempt } from "../support/fence-attempt.ts";
import { tempDir } from "../support/temp-dir.ts";

const victim = { node: "n2", slot: slotNumber(1), incarnation: "0123456789abcdef", generation: 7 };

describe("a fence agent", () => {
  let folder: ReturnType<typeof tempDir>;
  let logged: { readonly fields: LogFields; readonly text: string }[];
  beforeEach(() => {
    folder = tempDir("agent");
    logged = [];
  });
  afterEach(() => folder.remove());

  const keep = (fields: LogFields, text: string): void => {
    logged.push({ fields, text });
  };
  const log: Logger = {
    tracing: false,
    trace: keep,
    debug: keep,
    info: keep,
    warn: keep,
    error: keep,
    child: () => log,
  };
  const env = { clock: realClock, random: realRandom, log };

  function fencer(command: string, change: Partial<AgentOptions> = {}): AgentFencer {
    const options: AgentOptions = {
      command,
      timeoutMs: 10_000,
      retries: 0,
      verify: false,
      plugs: new Map(),
      pairs: new Map(),
      ...change,
    };
    return new AgentFencer(options, env);
  }

  it("is told what to do, line by line, and believed when it succeeds", async () => {
    const agent = new FakeAgent(folder.path, "exit 0");
    const plugs = new Map([["n2", "outlet 4"]]);
    const outcome = await fencer(agent.path, { plugs, pairs: new Map([["ip", "10.0.0.9"]]) }).fence(
      victim,
      fenceAttempt(),
    );
    expect(outcome.ok).toBe(true);
    expect(outcome.evidence).toContain("n2 is off");
    expect(agent.calls).toHaveLength(1);
    const [call] = agent.calls;
    expect(Object.fromEntries(call ?? [])).toMatchObject({
      action: "off",
      node: "n2",
      plug: "outlet 4",
      slot: "1",
      generation: "7",
      ip: "10.0.0.9",
    });
    expect(call?.get("fail_time")).toMatch(/^\d{10}$/);
  });

  it("names the node where no plug is configured", async () => {
    const agent = new FakeAgent(folder.path, "exit 0");
    await fencer(agent.path).fence(victim, fenceAttempt());
    expect(agent.calls[0]?.get("plug")).toBe("n2");
  });

  it("that fails is called again, and then the victim counts as not fenced", async () => {
    const agent = new FakeAgent(folder.path, "echo 'no route to the power switch' >&2; exit 1");
    const outcome = await fencer(agent.path, { retries: 1 }).fence(victim, fenceAttempt());
    expect(outcome.ok).toBe(false);
    expect(outcome.evidence).toContain("exit status 1");
    expect(outcome.evidence).toContain("no route to the power switch");
    expect(agent.calls).toHaveLength(2);
  });

  it("that fails once and then succeeds has fenced", async () => {
    const agent = new FakeAgent(
      folder.path,
      `[ -e '${folder.path}/again' ] && exit 0; touch '${folder.path}/again'; exit 1`,
    );
    expect((await fencer(agent.path, { retries: 1 }).fence(victim, fenceAttempt())).ok).toBe(true);
  });

  it("that hangs is killed with everything that it started", async () => {
    const child = join(folder.path, "child.pid");
    const agent = new FakeAgent(folder.path, `sleep 600 & echo $! >'${child}'; wait`);
    const outcome = await fencer(agent.path, { timeoutMs: 1000 }).fence(victim, fenceAttempt());
    expect(outcome).toMatchObject({ ok: false });
    expect(outcome.evidence).toContain("did not end within 1000 ms");
    const pid = Number(readFileSync(child, "utf8"));
    await expect.poll(() => isRunning(pid), { timeout: 10_000 }).toBe(false);
  });

  it("is ended with all that it started when it is given up, however deaf, and not called again", async () => {
    const started = join(folder.path, "started");
    const body = `trap '' TERM; sh -c "trap '' TERM; echo \\$\\$ >'${started}.new'; mv '${started}.new' '${started}'; while :; do sleep 600; done" & while :; do wait; done`;
    const agent = new FakeAgent(folder.path, body);
    const attempt = fenceAttempt();
    const fenced = fencer(agent.path, { timeoutMs: 600_000, retries: 3 }).fence(victim, attempt);
    await expect.poll(() => existsSync(started), { timeout: 10_000 }).toBe(true);
    attempt.end();
    const outcome = await fenced;
    expect(outcome).toMatchObject({ ok: false });
    expect(outcome.evidence).toContain("it was given up");
    const pid = Number(readFileSync(started, "utf8"));
    await expect.poll(() => isRunning(pid), { timeout: 10_000 }).toBe(false);
    expect(agent.calls).toHaveLength(1);
  });

  it("may set right what it has begun when it is given up", async () => {
    const [started, undone] = [join(folder.path, "started"), join(folder.path, "undone")];
    const agent = new FakeAgent(
      folder.path,
      `trap "touch '${undone}'; exit 1" TERM; touch '${started}'; sleep 600 & wait`,
    );
    const attempt = fenceAttempt();
    const fenced = fencer(agent.path, { timeoutMs: 600_000 }).fence(victim, attempt);
    await expect.poll(() => existsSync(started), { timeout: 10_000 }).toBe(true);
    attempt.end();
    expect((await fenced).ok).toBe(false);
    expect(existsSync(undone)).toBe(true);
  });

  it("does not touch a machine whose former life nobody wants to be ended any more", async () => {
    const agent = new FakeAgent(folder.path, "exit 1");
    let asked = 0;
    // Wanted at first; then the node has come back, and proved that its former life is over.
    const attempt = fenceAttempt(() => ++asked === 1);
    const outcome = await fencer(agent.path, { retries: 1 }).fence(victim, attempt);
    expect(outcome.ok).toBe(false);
    expect(outcome.evidence).toContain("n2 was left alone");
    expect(agent.calls).toHaveLength(1);
  });

  it("goes on as long as one of those that wait for it does, and spares the machine if one knows better", async () => {
    const [started, go] = [join(folder.path, "started"), join(folder.path, "go")];
    const agent = new FakeAgent(folder.path, `touch '${started}'; while [ ! -e '${go}' ]; do sleep 0.05; done; exit 0`);
    const both = fencer(agent.path, { timeoutMs: 600_000 });
    const [first, second] = [fenceAttempt(), fenceAttempt()];
    const outcomes = [
      both.fence(victim, first),
      both.fence({ ...victim, incarnation: "f".repeat(16) }, second),
    ] as const;
    await expect.poll(() => existsSync(started), { timeout: 10_000 }).toBe(true);
    first.end();
    expect(await outcomes[0]).toEqual({ ok: false, evidence: "it was given up" });
    writeFileSync(go, "");
    expect((await outcomes[1]).ok).toBe(true);
    const spared = await Promise.all([
      both.fence(victim, fenceAttempt()),
      both.fence(
        victim,
        fenceAttempt(() => false),
      ),
    ]);
    expect(spared.map(({ ok }) => ok)).toEqual([false, false]);
    expect(agent.calls).toHaveLength(1);
  });

  it("that was given up ends before another is called for the same machine", async () => {
    const [started, log] = [join(folder.path, "started"), join(folder.path, "log")];
    const body = `trap "echo end >>'${log}'; exit 1" TERM; echo begin >>'${log}'; [ -e '${started}' ] && exit 0; touch '${started}'; sleep 600 & wait`;
    const agent = new FakeAgent(folder.path, body);
    const fences = fencer(agent.path, { timeoutMs: 600_000 });
    const attempt = fenceAttempt();
    const first = fences.fence(victim, attempt);
    await expect.poll(() => existsSync(started), { timeout: 10_000 }).toBe(true);
    attempt.end();
    expect((await fences.fence(victim, fenceAttempt())).ok).toBe(true);
    expect((await first).ok).toBe(false);
    expect(readFileSync(log, "utf8")).toBe("begin\nend\nbegin\n");
  });

  it("that says without end is neither held up nor remembered", async () => {
    const agent = new FakeAgent(
      folder.path,
      "head -c 5000000 /dev/zero | tr '\\0' 'x'; echo; echo the last word; exit 3",
    );
    const outcome = await fencer(agent.path).fence(victim, fenceAttempt());
    expect(outcome.evidence).toContain("exit status 3");
    expect(outcome.evidence).toContain("the last word");
    expect(JSON.stringify(logged).length).toBeLessThan(10_000);
  });

  it("that closes its input and leaves something behind does not hold anything up", async () => {
    const agent = new FakeAgent(folder.path, "");
    writeFileSync(agent.path, "#!/bin/sh\nexec <&-\nsleep 600 &\nexit 0\n");
    const pairs = new Map([["filler", "x".repeat(200_000)]]);
    expect((await fencer(agent.path, { pairs }).fence(victim, fenceAttempt())).ok).toBe(true);
  });

  it("that lies is found out by its own status, when asked to verify", async () => {
    const lies = new FakeAgent(folder.path, "exit 0", "lies");
    const lied = await fencer(lies.path, { verify: true }).fence(victim, fenceAttempt());
    expect(lied.ok).toBe(false);
    expect(lied.evidence).toContain("still on");
    const honest = new FakeAgent(folder.path, '[ "$action" = status ] && exit 2; exit 0', "honest");
    expect((await fencer(honest.path, { verify: true }).fence(victim, fenceAttempt())).ok).toBe(true);
    expect(honest.calls.map((call) => call.get("action"))).toEqual(["off", "status"]);
  });

  it("that is gone when it is needed is no proof", async () => {
    const outcome = await fencer(join(folder.path, "nowhere")).fence(victim, fenceAttempt());
    expect(outcome.ok).toBe(false);
    expect(outcome.evidence).toContain("ENOENT");
  });

  it("does not get a secret into the log, even if it repeats it", async () => {
    const agent = new FakeAgent(folder.path, 'echo "$input"; exit 1');
    const outcome = await fencer(agent.path, { pairs: new Map([["password", "sesame42"]]) }).fence(
      victim,
      fenceAttempt(),
    );
    expect(agent.calls[0]?.get("password")).toBe("sesame42");
    expect(outcome.evidence + JSON.stringify(logged)).not.toContain("sesame42");
  });

  it("is called once for a machine that several arrays find dead at the same time", async () => {
    const agent = new FakeAgent(folder.path, "exit 0");
    const both = fencer(agent.path);
    const outcomes = await Promise.all([
      both.fence(victim, fenceAttempt()),
      both.fence({ ...victim, incarnation: "f".repeat(16) }, fenceAttempt()),
    ]);
    expect(outcomes.map(({ ok }) => ok)).toEqual([true, true]);
    expect(agent.calls).toHaveLength(1);
  });

  it("is refused before it is needed when it cannot be executed", () => {
    const options = (command: string): AgentOptions => ({
      command,
      timeoutMs: 1,
      retries: 0,
      verify: false,
      plugs: new Map(),
      pairs: new Map(),
    });
    const plain = join(folder.path, "plain");
    writeFileSync(plain, "");
    chmodSync(plain, 0o644);
    expect(() => checkAgent(options("fence_x"))).toThrow(/not an absolute path/);
    expect(() => checkAgent(options(join(folder.path, "nowhere")))).toThrow(/does not exist/);
    expect(() => checkAgent(options(plain))).toThrow(/not executable/);
    expect(() => checkAgent(options(folder.path))).toThrow(/not a file/);
  });

  it("and another method must both succeed", async () => {
    const good = { about: "good", timeoutMs: 5, fence: async () => ({ ok: true, evidence: "good" }) };
    const bad = { about: "bad", timeoutMs: 7, fence: async () => ({ ok: false, evidence: "bad" }) };
    const all = allOf([good, bad]);
    expect(all).toMatchObject({ about: "good + bad", timeoutMs: 12 });
    expect(await all.fence(victim, fenceAttempt())).toEqual({ ok: false, evidence: "bad" });
    const over = fenceAttempt();
    const last = { ...good, fence: async () => ({ ok: true, evidence: String(over.end()) }) };
    expect(await allOf([last, good]).fence(victim, over)).toEqual({ ok: false, evidence: "good: not tried" });
    expect(await allOf([good, good]).fence(victim, fenceAttempt())).toEqual({ ok: true, evidence: "good; good" });
  });
});

function isRunning(pid: number): boolean {
  if (!existsSync(`/proc/${pid}/stat`)) return false;
  return !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
}
