import { slotNumber } from "../../src/base/units.ts";
import { lockFlag, statusFlag } from "../../src/dlm/lock-flags.ts";
import { type LockMode, lockModes } from "../../src/dlm/lock-mode.ts";
import { cancelLock, convertLock, removeLocksOf, requestLock } from "../../src/dlm/lock-resource.ts";
import { emptyResource, type LockResource, type Notice, type ResourceLock } from "../../src/dlm/resource-state.ts";
import { stepChannel } from "../../src/messages/channel.ts";
import {
  type ChannelEffect,
  type ChannelEvent,
  type ChannelHalf,
  type ChannelLock,
  type ChannelState,
  type ConvertStep,
  newChannel,
  type StepResult,
} from "../../src/messages/channel-state.ts";
import type { ClusterMessage } from "../../src/messages/message.ts";
import { decodeFrame, decodeSettled, encodeFrame, encodeSettled } from "../../src/messages/message-codec.ts";
import { SeededRandom } from "../support/seeded-random.ts";

const channelLocks = ["token", "message", "ack"] as const;

/** What one half of a node converts: some steps in one call, the rest when these are granted. */
interface Conversion {
  readonly steps: readonly ConvertStep[];
  readonly results: StepResult[];
  /** Steps that the server has begun, as its answers say. */
  accepted: number;
  /** An answer is under way. */
  calling: boolean;
  failed: boolean;
}

/** A node may die when it would send its next call but n, or when the server has executed it. */
export interface Death {
  calls: number;
  readonly executed: boolean;
}

interface Node {
  readonly slot: number;
  state: ChannelState;
  alive: boolean;
  /** Messages to say, and what the section under way still has to say. */
  readonly outbox: ClusterMessage[][];
  section: ClusterMessage[] | null;
  readonly locks: Map<ChannelLock, ResourceLock>;
  readonly converting: Map<ChannelHalf, Conversion>;
  death: Death | null;
  handling: boolean;
  /** What it says is to be settled everywhere. */
  awaitsSettled: boolean;
}

/** Channels over one lock server. Every hop takes a random time, every link keeps its order, nodes may die at any step. */
export class ChannelWorld {
  readonly random: SeededRandom;
  readonly nodes: Node[] = [];
  readonly delivered: ClusterMessage[][] = [];
  /** Messages whose sender was told that everybody has processed them. */
  readonly published: ClusterMessage[] = [];
  readonly settled: number[] = [];
  readonly #resources = new Map<ChannelLock, LockResource>(channelLocks.map((name) => [name, emptyResource(name)]));
  readonly #linkClock = new Map<string, number>();
  /** By slot: what the server has said, and its link holds back. */
  readonly #stalled = new Map<number, (() => void)[]>();
  #queue: { at: number; seq: number; run: () => void }[] = [];
  #now = 0;
  #seq = 0;

  constructor(seed: number) {
    this.random = new SeededRandom(seed);
  }

  add(): Node {
    const slot = this.nodes.length;
    const node: Node = {
      slot,
      state: newChannel(slotNumber(slot)),
      alive: true,
      outbox: [],
      section: null,
      locks: new Map(),
      converting: new Map(),
      death: null,
      handling: false,
      awaitsSettled: false,
    };
    this.nodes.push(node);
    this.delivered.push([]);
    this.settled.push(0);
    for (const name of channelLocks) this.#openLock(node, name);
    // Joining is a section with nothing to say; it listens some time afterwards.
    node.outbox.push([]);
    this.#later(`${slot}/app`, () => this.#startSection(node));
    return node;
  }

  send(slot: number, messages: ClusterMessage[]): void {
    const node = this.nodes[slot];
    if (node === undefined) throw new Error(`no node ${slot}`);
    node.outbox.push(messages);
    this.#later(`${slot}/app`, () => this.#startSection(node));
  }

  /** Runs until nothing is left to do; kills `victim` after `deathStep` events. */
  run(victim = -1, deathStep = Number.POSITIVE_INFINITY): void {
    for (let steps = 0; this.#queue.length > 0; steps++) {
      if (steps > 100_000) throw new Error("no rest");
      if (steps === deathStep) this.#kill(victim);
      this.#queue.sort((a, b) => a.at - b.at || a.seq - b.seq);
      const next = this.#queue.shift();
      if (next === undefined) return;
      this.#now = next.at;
      next.run();
      this.#checkOneTokenHolder();
    }
  }

  /** Gives up the wait for the token, if there is one. */
  cancelToken(slot: number): void {
    const node = this.nodes[slot];
    if (node === undefined || !node.alive || node.state.sending !== "awaiting_token") return;
    this.#later(`${slot}>server`, () => {
      const lock = node.locks.get("token");
      const resource = this.#resources.get("token");
      if (node.alive && lock !== undefined && resource !== undefined) {
        cancelLock(resource, lock, (notice) => this.#notify("token", notice));
      }
    });
  }

  #kill(slot: number): void {
    const node = this.nodes[slot];
    if (node === undefined) return;
    node.alive = false;
    node.death = null;
    // Noticed some time later; then its locks go.
    this.#later("server", () => {
      for (const [name, resource] of this.#resources) {
        removeLocksOf(resource, slot, true, (notice) => this.#notify(name, notice));
      }
    });
  }

  #openLock(node: Node, name: ChannelLock): void {
    const lock: ResourceLock = {
      lkid: node.slot * 10 + channelLocks.indexOf(name),
      slot: node.slot,
      gr: -1,
      rq: 0,
      ex: lockFlag.EXPEDITE | (name === "ack" ? 0 : lockFlag.VALBLK),
      sb: 0,
      hi: 0,
      bast: name === "ack",
      order: 0,
      lvbSeq: 0,
    };
    node.locks.set(name, lock);
    const resource = this.#resources.get(name);
    if (resource !== undefined) requestLock(resource, lock, () => {});
  }

  /** What the server tells a node comes when this is called again, with false. */
  stall(slot: number, stalled: boolean): void {
    const waiting = this.#stalled.get(slot) ?? [];
    if (stalled) this.#stalled.set(slot, waiting);
    else this.#stalled.delete(slot);
    if (stalled) return;
    for (const run of waiting) this.#later(`server>${slot}`, run);
  }

  #toNode(slot: number, run: () => void): void {
    const waiting = this.#stalled.get(slot);
    if (waiting === undefined) this.#later(`server>${slot}`, run);
    else waiting.push(run);
  }

  #later(link: string, run: () => void): void {
    const at = Math.max(this.#now + 1 + this.random.below(100), (this.#linkClock.get(link) ?? 0) + 1);
    this.#linkClock.set(link, at);
    this.#queue.push({ at, seq: this.#seq++, run });
  }

  #startSection(node: Node): void {
    if (!node.alive || node.section !== null || node.state.sending !== "idle") return;
    const section = node.outbox.shift();
    if (section === undefined) return;
    node.section = section;
    this.#dispatch(node, { type: "acquire" });
  }

  #dispatch(node: Node, event: ChannelEvent): void {
    if (!node.alive) return;
    const [state, effects] = stepChannel(node.state, event);
    node.state = state;
    for (const effect of effects) this.#perform(node, effect);
  }

  #perform(node: Node, effect: ChannelEffect): void {
    const app = `${node.slot}/app`;
    switch (effect.type) {
      case "convert":
        this.#convert(node, effect);
        break;
      case "deliver":
        this.#handle(node, effect.message);
        break;
      case "settle":
        this.#later(app, () => {
          if (node.alive) this.settled[node.slot] = (this.settled[node.slot] ?? 0) + 1;
          this.#dispatch(node, { type: "settled" });
        });
        break;
      case "skip":
        break;
      case "token_held":
        if (node.handling) throw new Error("a section runs while a message is handled");
        this.#later(app, () => this.#continueSection(node));
        break;
      case "published": {
        const message = node.section?.shift();
        if (message === undefined) throw new Error("published what nobody said");
        if (node.awaitsSettled) this.#checkSettled(node);
        this.published.push(message);
        if (node.state.outgoing?.last !== true) this.#later(app, () => this.#continueSection(node));
        break;
      }
      case "token_refused":
      case "released":
        // A section that did not get the token tries again.
        if (effect.type === "token_refused" && node.section !== null) node.outbox.unshift(node.section);
        node.section = null;
        if (node.state.receiving === "deaf") this.#later(app, () => this.#dispatch(node, { type: "listen" }));
        this.#later(app, () => this.#startSection(node));
        break;
    }
  }

  #handle(node: Node, message: ClusterMessage): void {
    if (!["idle", "awaiting_token", "awaiting_quiet", "hearing"].includes(node.state.sending)) {
      throw new Error(`delivered while ${node.state.sending}`);
    }
    this.delivered[node.slot]?.push(message);
    node.handling = true;
    this.#later(`${node.slot}/app`, () => {
      node.handling = false;
      this.#dispatch(node, { type: "processed" });
    });
  }

  #continueSection(node: Node): void {
    if (!node.alive) return;
    const message = node.section?.[0];
    // Some sections know that nothing follows their last message, others find out.
    const last = node.section?.length === 1 && message !== undefined && this.random.below(2) === 0;
    // And some want to know that it is settled everywhere.
    const settled = !last && this.random.below(2) === 0;
    node.awaitsSettled = settled;
    this.#dispatch(node, message === undefined ? { type: "release" } : { type: "publish", message, last, settled });
  }

  #convert(node: Node, { half, steps }: ChannelEffect & { readonly type: "convert" }): void {
    if (node.converting.has(half)) throw new Error(`two conversions of the ${half} half`);
    const conversion: Conversion = { steps, results: [], accepted: 0, calling: false, failed: false };
    for (const other of node.converting.values()) {
      const left = other.steps.slice(other.results.length).map(({ lock }) => lock);
      if (steps.some(({ lock }) => left.includes(lock))) throw new Error("two conversions of one lock");
    }
    node.converting.set(half, conversion);
    this.#call(node, half, conversion);
  }

  /** One call: the steps that are left, up to the first that is not granted at once. */
  #call(node: Node, half: ChannelHalf, conversion: Conversion): void {
    const dies = node.death !== null && node.death.calls-- === 0;
    if (dies && node.death?.executed === false) {
      this.#kill(node.slot);
      return;
    }
    conversion.calling = true;
    this.#later(`${node.slot}>server`, () => {
      if (!node.alive) return;
      let begun = 0;
      for (const step of conversion.steps.slice(conversion.accepted)) {
        begun++;
        if (!this.#execute(node, step)) break;
      }
      this.#toNode(node.slot, () => {
        conversion.accepted += begun;
        conversion.calling = false;
        this.#goOn(node, half, conversion);
      });
      if (dies) this.#kill(node.slot);
    });
  }

  /** Whether it was granted at once. */
  #execute(node: Node, { lock: name, mode, frame, settled, noqueue }: ConvertStep): boolean {
    const lock = node.locks.get(name);
    const resource = this.#resources.get(name);
    if (lock === undefined || resource === undefined) throw new Error(`no lock ${name}`);
    const written = frame === undefined ? settled && encodeSettled(settled) : encodeFrame(frame);
    const input = written === undefined ? null : Buffer.from(written).toString("base64");
    const flags = (name === "ack" ? 0 : lockFlag.VALBLK) | (noqueue === true ? lockFlag.NOQUEUE : 0);
    let granted = false;
    convertLock(resource, lock, { mode: lockModes.indexOf(mode), flags, input }, (notice) => {
      if (notice.lock === lock && notice.type === "cast" && notice.status === 0) granted = true;
      this.#notify(name, notice);
    });
    return granted;
  }

  #notify(name: ChannelLock, notice: Notice): void {
    const node = this.nodes[notice.lock.slot];
    if (node === undefined) return;
    const valid = (notice.lock.sb & statusFlag.VALNOTVALID) === 0;
    const mode = modeOf(notice.mode);
    this.#toNode(node.slot, () => {
      if (notice.type === "bast") {
        this.#dispatch(node, { type: "bast", lock: name, wanted: mode });
        return;
      }
      const lvb = notice.lvb;
      const bytes = lvb === null ? null : Uint8Array.from(Buffer.from(lvb, "base64"));
      const value = bytes === null || name !== "message" ? null : { valid, frame: decodeFrame(bytes) };
      const settled = bytes === null || name !== "token" ? null : decodeSettled(bytes);
      for (const [half, conversion] of node.converting) {
        if (conversion.steps[conversion.results.length]?.lock !== name) continue;
        conversion.results.push({ mode, value, settled });
        conversion.failed = notice.status !== 0;
        this.#goOn(node, half, conversion);
        return;
      }
      throw new Error(`a completion of ${name} that nobody waits for`);
    });
  }

  #goOn(node: Node, half: ChannelHalf, conversion: Conversion): void {
    const { steps, results, accepted, calling, failed } = conversion;
    if (!node.alive || calling || results.length < accepted) return;
    if (!failed && results.length < steps.length) {
      this.#call(node, half, conversion);
      return;
    }
    node.converting.delete(half);
    this.#dispatch(node, { type: "converted", half, results });
  }

  #checkSettled(sender: Node): void {
    const unsettled = ["processing", "acknowledging", "settling"];
    for (const { slot, alive, state } of this.nodes) {
      if (slot === sender.slot || !alive || !unsettled.includes(state.receiving)) continue;
      throw new Error(`said to be settled while slot ${slot} is ${state.receiving}`);
    }
  }

  #checkOneTokenHolder(): void {
    const holders = (this.#resources.get("token")?.granted ?? []).filter((lock) => lock.gr === 5);
    if (holders.length > 1) throw new Error("two token holders");
  }
}

function modeOf(n: number): LockMode {
  const mode = lockModes[n];
  if (mode === undefined) throw new Error(`no mode ${n}`);
  return mode;
}
