import { AssertionError } from "../base/assert.ts";
import { MdError } from "../base/md-error.ts";
import type { LockspaceListener } from "../dlm/lockspace.ts";
import { joinLockspace } from "../dlm/lockspace-client.ts";
import type { DlmScenario } from "./dlm-scenario.ts";
import { DlmTalker } from "./dlm-talker.ts";
import { DlmWorker } from "./dlm-worker.ts";
import type { Direction } from "./lock-link.ts";
import type { FragileNode } from "./node-faults.ts";
import { observeListener } from "./observed-lockspace.ts";
import type { ClockFaults } from "./sim-clock.ts";
import type { SimLockServer } from "./sim-lock-server.ts";
import { SimProcess } from "./sim-process.ts";
import type { World } from "./world.ts";
import type { Wrappers } from "./wrappers.ts";

export interface DlmNodeOptions {
  readonly scenario: DlmScenario;
  readonly clock: ClockFaults;
  readonly wrappers: Pick<Wrappers, "lockspace" | "lease" | "link">;
  /** Nobody begins anything new. */
  readonly isOver: () => boolean;
}

/** A host whose processes do nothing but lock: lives of the real lockspace client, one after another. */
export class DlmNode implements FragileNode {
  readonly name: string;
  readonly #world: World;
  readonly #server: SimLockServer;
  readonly #options: DlmNodeOptions;
  #lives = 0;
  #linkDown: Direction | null = null;
  #workers: readonly DlmWorker[] = [];
  #leave: (() => void) | null = null;
  #talker: DlmTalker | null = null;
  process: SimProcess | null = null;
  /** It has joined. */
  isMember = false;

  constructor(world: World, name: string, server: SimLockServer, options: DlmNodeOptions) {
    this.#world = world;
    this.name = name;
    this.#server = server;
    this.#options = options;
  }

  start(): void {
    if (this.process !== null) return;
    const { clock, scenario } = this.#options;
    const life = `${this.name}.${++this.#lives}`;
    const process = new SimProcess(this.#world, life, this.#server, [], { clock, link: scenario.link });
    if (this.#linkDown !== null) process.link.cut(this.#linkDown);
    this.process = process;
    this.#world.schedule(0, process.control, () => void this.#live(process));
  }

  kill(why: string): void {
    this.process?.kill(why);
    this.#gone();
  }

  stop(): void {
    const { process } = this;
    if (process !== null) this.#world.schedule(0, process.control, () => this.#leave?.());
  }

  cutLink(direction: Direction = "both"): void {
    this.#linkDown = direction;
    this.process?.link.cut(direction);
  }

  healLink(): void {
    this.#linkDown = null;
    this.process?.link.heal();
  }

  /** It is a member, and waits for nothing. */
  get isAtRest(): boolean {
    const talks = this.#talker?.isSaying ?? false;
    return this.isMember && !talks && this.#workers.every(({ state }) => state !== "waiting");
  }

  describe(): string {
    const state = this.process === null ? "down" : this.isMember ? "member" : "joining";
    const work = [...this.#workers.map((worker) => worker.state), this.#talker?.isSaying ? "speaking" : "silent"];
    return `${this.name}: ${state}, ${work.join(", ")}`;
  }

  #gone(): void {
    this.process = null;
    this.isMember = false;
    this.#workers = [];
    this.#leave = null;
    this.#talker = null;
  }

  #end(process: SimProcess, why: string): void {
    process.kill(why);
    if (this.process === process) this.#gone();
  }

  async #live(process: SimProcess): Promise<void> {
    try {
      await this.#lock(process);
    } catch (error) {
      if (error instanceof AssertionError || !(error instanceof MdError)) {
        const trace = error instanceof Error ? error.stack : String(error);
        this.#world.violation(`${process.life} contradicts itself: ${trace}`);
      }
      this.#end(process, String(error));
    }
  }

  /** Rejects when the membership ends. */
  async #lock(process: SimProcess): Promise<void> {
    const { scenario, wrappers, isOver } = this.#options;
    const { life, env } = process;
    const listener: LockspaceListener = {
      recoverPrep: () => {},
      recoverSlot: () => {},
      recoverDone: () => {},
      fenced: (reason) => this.#end(process, `fenced: ${reason}`),
    };
    const sink = (writeUntil: number): void => {
      process.leaseDeadline = writeUntil;
      process.tellLease();
    };
    const joined = await joinLockspace({
      master: wrappers.link?.(process.link) ?? process.link,
      name: "locks",
      cluster: "sim",
      node: this.name,
      slots: 8,
      lease: { leaseMs: scenario.leaseMs },
      env,
      listener: observeListener(listener, this.#world, life),
      leaseSink: wrappers.lease?.(sink) ?? sink,
    });
    this.#world.emit({ type: "joined", life, slot: joined.slot });
    const lockspace = wrappers.lockspace?.(joined) ?? joined;
    if (this.process !== process) return;
    this.isMember = true;
    this.#leave = () => {
      void lockspace.leave().then(() => this.#end(process, "left"));
    };
    const work = (resource: string): DlmWorker =>
      new DlmWorker(this.#world, process, lockspace, { resource, scenario, isOver });
    this.#workers = Array.from({ length: scenario.resources }, (_, i) => work(`resource${i}`));
    this.#talker = scenario.messages ? new DlmTalker(this.#world, process, lockspace, { scenario, isOver }) : null;
    await Promise.all([...this.#workers.map((worker) => worker.run()), this.#talker?.run()]);
  }
}
