import fc from "fast-check";
import { expect, it } from "vitest";
import { MdError } from "../../src/base/md-error.ts";
import { type LockMode, lockModes, modesCompatible } from "../../src/dlm/lock-mode.ts";
import { type Grant, type Lock, LVB_SIZE } from "../../src/dlm/lockspace.ts";
import { lvbTransfer } from "../../src/dlm/lvb-transfer.ts";
import { weakerOf } from "../../src/dlm/unanswered.ts";
import { FakeClock } from "../support/fake-clock.ts";
import { FlakyCable } from "../support/flaky-cable.ts";
import { ForgetfulServer } from "../support/forgetful-server.ts";
import { envOf, joinRecorded, type RecordedNode } from "../support/lockspace-node.ts";
import { SeededRandom } from "../support/seeded-random.ts";

const RESOURCES = ["r", "s"];
const NODES = ["n1", "n2", "n3"];

type Step =
  | { readonly type: "convert"; readonly node: number; readonly lock: number; readonly modes: readonly LockMode[] }
  | { readonly type: "noqueue"; readonly node: number; readonly lock: number; readonly mode: LockMode }
  | { readonly type: "cancel"; readonly node: number }
  | { readonly type: "cable"; readonly node: number; readonly state: FlakyCable["state"] }
  | { readonly type: "lose" }
  | { readonly type: "rollBack"; readonly calls: number }
  | { readonly type: "advance"; readonly ms: number };

const node = fc.nat({ max: NODES.length - 1 });
const lock = fc.nat({ max: RESOURCES.length - 1 });
const mode = fc.constantFrom(...lockModes);
const modes = fc.array(mode, { minLength: 1, maxLength: 3 });
const state = fc.constantFrom(
  "up" as const,
  "up" as const,
  "no request" as const,
  "no reply" as const,
  "silent" as const,
);
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 8, arbitrary: fc.record({ type: fc.constant("convert" as const), node, lock, modes }) },
  { weight: 2, arbitrary: fc.record({ type: fc.constant("noqueue" as const), node, lock, mode }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant("cancel" as const), node }) },
  { weight: 3, arbitrary: fc.record({ type: fc.constant("cable" as const), node, state }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant("lose" as const) }) },
  {
    weight: 1,
    arbitrary: fc.record({ type: fc.constant("rollBack" as const), calls: fc.integer({ min: 1, max: 12 }) }),
  },
  { weight: 6, arbitrary: fc.record({ type: fc.constant("advance" as const), ms: fc.integer({ min: 1, max: 300 }) }) },
);

/** What was written to a resource: values are numbers that grow. A write that was never answered may have happened. */
interface Register {
  asked: number;
  answered: number;
}

interface Pending {
  readonly steps: readonly LockMode[];
  readonly abort: AbortController;
}

class Member {
  readonly cable: FlakyCable;
  joined: RecordedNode | null = null;
  readonly locks: Lock[] = [];
  /** By lock: what was asked for and is not answered yet. */
  readonly pending = new Map<number, Pending>();
  constructor(cable: FlakyCable) {
    this.cable = cable;
  }
}

/** Three nodes that do what they are told, and somebody who knows what may not be. */
class Cluster {
  readonly clock = new FakeClock();
  readonly server = new ForgetfulServer();
  readonly members: readonly Member[];
  readonly registers: readonly Register[] = RESOURCES.map(() => ({ asked: 0, answered: 0 }));
  readonly wrong: string[] = [];
  reads = 0;
  completed = 0;
  started = 0;

  constructor(seed: number) {
    const random = new SeededRandom(seed);
    this.members = NODES.map(() => new Member(new FlakyCable(this.server, this.clock, random)));
  }

  begin(): void {
    for (const [at, name] of NODES.entries()) {
      this.#live(name, at).catch((error: unknown) => this.wrong.push(`${name}: ${String(error)}`));
    }
  }

  /** Joins, and joins again whenever it is put out. */
  async #live(name: string, at: number): Promise<never> {
    const member = this.members[at] as Member;
    for (let life = 1; ; life++) {
      let over: () => void = () => {};
      const ended = new Promise<void>((resolve) => {
        over = resolve;
      });
      try {
        const env = envOf(this.clock, at * 1000 + life);
        const joined = await joinRecorded(member.cable, env, name, { onFenced: () => over() });
        for (const resource of RESOURCES) member.locks.push(await joined.lockspace.open(resource, { lvb: true }));
        member.joined = joined;
        await ended;
      } catch (error) {
        if (!(error instanceof MdError)) throw error;
        await new Promise<void>((resolve) => this.clock.after(50, resolve));
      }
      member.joined = null;
      member.locks.length = 0;
      member.pending.clear();
    }
  }

  async run(step: Step): Promise<void> {
    switch (step.type) {
      case "convert":
        this.convert(step.node, step.lock, step.modes, false);
        break;
      case "noqueue":
        this.convert(step.node, step.lock, [step.mode], true);
        break;
      case "cancel":
        for (const { abort } of this.members[step.node]?.pending.values() ?? []) abort.abort();
        break;
      case "cable":
        (this.members[step.node] as Member).cable.state = step.state;
        break;
      case "lose":
        this.server.lose();
        break;
      case "rollBack":
        await this.server.rollBack(step.calls);
        break;
      case "advance":
        for (let left = step.ms; left > 0; left -= 10) {
          await this.clock.advance(Math.min(10, left));
          this.check();
        }
        break;
    }
    await this.clock.advance(0);
    this.check();
  }

  convert(at: number, which: number, modes: readonly LockMode[], noqueue: boolean): void {
    const member = this.members[at] as Member;
    const lock = member.locks[which];
    const { joined } = member;
    if (joined === null || lock === undefined || member.pending.has(which)) return;
    const register = this.registers[which] as Register;
    const before = register.answered;
    const abort = new AbortController();
    // Only what is written at once, by who holds it already: then values are written in the order of their numbers.
    const isWrite = lvbTransfer(lockModes.indexOf(lock.mode), lockModes.indexOf(modes[0] ?? "NL")) === "W";
    const written = isWrite ? ++register.asked : null;
    const steps = modes.map((mode, i) => {
      const value = i === 0 && written !== null ? { lvb: encode(written) } : {};
      return { lock, mode, noqueue, ...value };
    });
    member.pending.set(which, { steps: modes, abort });
    this.started += 1;
    let answers = 0;
    joined.lockspace.convertAll(steps, abort.signal).then(
      (grants) => {
        answers += 1;
        if (answers > 1) this.wrong.push("a request was completed twice");
        this.completed += 1;
        if (member.joined === joined) member.pending.delete(which);
        for (const [i, grant] of grants.entries()) this.#judge(grant, i === 0 ? written : null, register, before);
        this.check();
      },
      () => {
        this.completed += 1; // its life has ended
      },
    );
  }

  #judge({ status, lvb, lvbValid }: Grant, written: number | null, register: Register, before: number): void {
    if (status !== "granted") return;
    if (written !== null) register.answered = Math.max(register.answered, written);
    if (lvb === null || !lvbValid) return;
    const read = decode(lvb);
    this.reads += 1;
    if (read < before || read > register.asked) {
      this.wrong.push(`${read} was read as valid: ${before} was written before, ${register.asked} was the last`);
    }
  }

  /** What each node believes to hold while its lease allows it to act on that. */
  check(): void {
    const now = this.clock.now();
    for (const [which, resource] of RESOURCES.entries()) {
      const held = this.members.map((member) => {
        const lock = member.locks[which];
        if (lock === undefined || now >= (member.joined?.deadline ?? 0)) return "NL";
        const asked = member.pending.get(which)?.steps ?? [];
        const number = asked.reduce((mode, to) => weakerOf(mode, lockModes.indexOf(to)), lockModes.indexOf(lock.mode));
        return lockModes[number] ?? "NL";
      });
      for (const [i, a] of held.entries()) {
        for (const b of held.slice(i + 1)) {
          if (!modesCompatible(a, b)) this.wrong.push(`${now} ms: ${resource} is held in ${held.join(", ")}`);
        }
      }
    }
  }

  /** Everything is whole again: what waits is cancelled, then each gets what it asks for. */
  async rest(): Promise<void> {
    for (const { cable } of this.members) cable.state = "up";
    await this.run({ type: "advance", ms: 8000 });
    for (const { pending } of this.members) for (const { abort } of pending.values()) abort.abort();
    await this.run({ type: "advance", ms: 500 });
    if (this.started !== this.completed)
      this.wrong.push(`${this.completed} of ${this.started} requests were completed`);
    for (const mode of ["NL", "EX", "NL"] as const) {
      for (const [at, { locks }] of this.members.entries()) {
        for (const which of locks.keys()) {
          this.convert(at, which, mode === "EX" ? ["EX", "NL"] : ["NL"], false);
          const { pending } = this.members[at] as Member;
          for (let turn = 0; turn < 60 && pending.size > 0; turn++) await this.run({ type: "advance", ms: 100 });
        }
      }
    }
    for (const [at, { joined, pending, locks }] of this.members.entries()) {
      if (joined === null || pending.size > 0 || locks.some((lock) => lock.mode !== "NL")) {
        const { frozen = null } = joined?.lockspace ?? {};
        this.wrong.push(`${NODES[at]} does not work any more: ${JSON.stringify({ pending: [...pending], frozen })}`);
      }
    }
  }
}

const encode = (value: number): Uint8Array => {
  const lvb = new Uint8Array(LVB_SIZE);
  new DataView(lvb.buffer).setUint32(0, value);
  return lvb;
};
const decode = (lvb: Uint8Array): number => new DataView(lvb.buffer).getUint32(0);

it("never has two holders, completes everything once and tells no false value, whatever the lock server forgets", async () => {
  let reads = 0;
  const property = fc.asyncProperty(
    fc.nat(),
    fc.array(step, { minLength: 20, maxLength: 120 }),
    async (seed, steps) => {
      const cluster = new Cluster(seed);
      cluster.begin();
      await cluster.run({ type: "advance", ms: 400 });
      for (const one of steps) {
        await cluster.run(one);
        if (cluster.wrong.length > 0) break;
      }
      if (cluster.wrong.length === 0) await cluster.rest();
      reads += cluster.reads;
      expect(cluster.wrong).toEqual([]);
    },
  );
  await fc.assert(property, { numRuns: Number(process.env["MDCTL_RUNS"] ?? 60), endOnFailure: false });
  expect(reads).toBeGreaterThan(20);
}, 300_000);
