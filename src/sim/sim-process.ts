import type { Env } from "../env/env.ts";
import { fastLink, type LinkTiming } from "./lock-link.ts";
import { type ClockFaults, SimClock } from "./sim-clock.ts";
import type { DiskUser, SimDisk } from "./sim-disk.ts";
import { SimLockMaster } from "./sim-lock-master.ts";
import type { SimLockServer } from "./sim-lock-server.ts";
import { simLogger } from "./sim-logger.ts";
import { SimThread } from "./sim-thread.ts";
import type { World } from "./world.ts";

/**
 * One incarnation of a node: a process with two threads (control plane, data plane), a link to the lock server and a
 * lease. It ends once, and nothing of it happens afterwards but what the disks already have.
 */
export class SimProcess {
  /** `n1.2`: the second life of n1. */
  readonly life: string;
  readonly control: SimThread;
  readonly data: SimThread;
  readonly link: SimLockMaster;
  readonly env: Env;
  readonly clock: SimClock;
  /** The same time, with timers of the data plane's thread. */
  readonly dataClock: SimClock;
  readonly controlUser: DiskUser;
  readonly dataUser: DiskUser;
  /** By its own clock; what the lockspace last put into the memory that the data plane reads. */
  leaseDeadline = 0;
  readonly #world: World;
  readonly #disks: readonly SimDisk[];
  #ended = false;

  constructor(
    world: World,
    life: string,
    server: SimLockServer,
    disks: readonly SimDisk[],
    { clock, link = fastLink }: { readonly clock?: ClockFaults; readonly link?: LinkTiming } = {},
  ) {
    this.#world = world;
    this.#disks = disks;
    this.life = life;
    this.control = new SimThread(world, `${life} control`);
    this.data = new SimThread(world, `${life} data`);
    this.link = new SimLockMaster(world, server, life, this.control, link);
    this.clock = new SimClock(world, this.control, clock);
    this.dataClock = new SimClock(world, this.data, clock);
    this.env = { clock: this.clock, random: world.random.fork(), log: simLogger(world, life) };
    const leaseHolds = (): boolean => this.clock.now() < this.leaseDeadline;
    this.controlUser = { life, thread: this.control, leaseHolds };
    this.dataUser = { life, thread: this.data, leaseHolds };
    world.emit({ type: "life_began", life });
  }

  get ended(): boolean {
    return this.#ended;
  }

  get paused(): boolean {
    return this.control.paused || this.data.paused;
  }

  /** As SIGKILL. */
  kill(why: string): void {
    if (this.#ended) return;
    this.#ended = true;
    const threads = [this.control, this.data];
    for (const thread of threads) thread.end();
    for (const disk of this.#disks) disk.abandon(threads);
    this.#world.emit({ type: "life_ended", life: this.life, why });
  }

  /** Its host's clock runs so fast from now on. */
  skew(rate: number): void {
    for (const clock of [this.clock, this.dataClock]) clock.skew(rate);
    this.tellLease();
  }

  /** The checkers learn until when it may act, in true time. */
  tellLease(): void {
    const until = this.leaseDeadline === 0 ? 0 : this.clock.trueTime(this.leaseDeadline);
    this.#world.tell({ type: "lease", life: this.life, until });
  }

  /** As SIGSTOP, or only the control plane's thread, as by a long computation. */
  pause(what: "process" | "control" = "process"): void {
    this.control.pause();
    if (what === "process") this.data.pause();
  }

  resume(): void {
    this.control.resume();
    this.data.resume();
  }
}
