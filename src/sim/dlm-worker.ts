import { type LockMode, lockModes } from "../dlm/lock-mode.ts";
import { type Lock, type Lockspace, LVB_SIZE } from "../dlm/lockspace.ts";
import { sleep } from "../env/clock.ts";
import type { DlmScenario } from "./dlm-scenario.ts";
import { openObserved } from "./observed-lock.ts";
import type { SimProcess } from "./sim-process.ts";
import type { World } from "./world.ts";

/** A value block with a text in it. */
function blockOf(text: string): Uint8Array {
  const lvb = new Uint8Array(LVB_SIZE);
  lvb.set(new TextEncoder().encode(text));
  return lvb;
}

/** A life that works with one resource: reads and writes its value, takes and changes modes, holds and lets go. */
export class DlmWorker {
  readonly #world: World;
  readonly #process: SimProcess;
  readonly #lockspace: Lockspace;
  readonly #resource: string;
  readonly #scenario: DlmScenario;
  readonly #isOver: () => boolean;
  #lock: Lock | null = null;
  /** Ends a wait while a lock is held. */
  #letGo = new AbortController();
  /** `waiting`: for the lock server, or for others. */
  state: "resting" | "waiting" | "holding" = "resting";

  constructor(
    world: World,
    process: SimProcess,
    lockspace: Lockspace,
    work: { readonly resource: string; readonly scenario: DlmScenario; readonly isOver: () => boolean },
  ) {
    this.#world = world;
    this.#process = process;
    this.#lockspace = lockspace;
    this.#resource = work.resource;
    this.#scenario = work.scenario;
    this.#isOver = work.isOver;
  }

  /** Rejects with the end of the membership. Between two pieces of work it rests, and so it does when all is over. */
  async run(): Promise<never> {
    for (;;) {
      await this.#sleep(this.#scenario.think);
      if (this.#isOver()) continue;
      this.state = "waiting";
      await this.#work(this.#lock ?? (await this.#open()));
      this.state = "resting";
    }
  }

  async #open(): Promise<Lock> {
    const onBast = (): void => this.#letGo.abort();
    const options = { lvb: true, onBast };
    this.#lock = await openObserved(this.#world, this.#process.life, this.#lockspace, this.#resource, options);
    return this.#lock;
  }

  #sleep(range: readonly [number, number], signal?: AbortSignal): Promise<void> {
    return sleep(this.#process.env.clock, this.#world.random.between(...range), signal);
  }

  async #work(lock: Lock): Promise<void> {
    const { random } = this.#world;
    const what = random.next();
    if (what < 0.4) await this.#write(lock);
    else if (what < 0.7) await this.#read(lock);
    else if (what < 0.95) await this.#wander(lock);
    else await this.#reopen(lock);
  }

  async #write(lock: Lock): Promise<void> {
    if (!(await this.#take(lock, "EX"))) return;
    await this.#hold();
    const { random } = this.#world;
    await this.#publish(lock, random.chance(0.5) ? "NL" : random.pick(lockModes));
    await this.#release(lock);
  }

  async #read(lock: Lock): Promise<void> {
    if (!(await this.#take(lock, this.#world.random.pick(["CR", "PR", "CW"] as const)))) return;
    await this.#hold();
    await this.#release(lock);
  }

  /** Any conversions, up and down; from PW and EX sometimes with a value. */
  async #wander(lock: Lock): Promise<void> {
    const { random } = this.#world;
    for (let steps = random.integer(1, 5); steps > 0; steps--) {
      const mode = random.pick(lockModes);
      const writes = lock.mode === "EX" || (lock.mode === "PW" && mode !== "EX");
      if (writes && random.chance(0.7)) await this.#publish(lock, mode);
      else if (!(await this.#take(lock, mode))) break;
      await this.#hold();
    }
    await this.#release(lock);
  }

  async #reopen(lock: Lock): Promise<void> {
    this.#lock = null;
    await lock.close();
  }

  #publish(lock: Lock, mode: LockMode): Promise<unknown> {
    return lock.convert(mode, { lvb: blockOf(`${this.#process.life}#${this.#world.nextId()}`) });
  }

  /** True: granted. Sometimes it does not wait, or not for long. Who must give way to others lets go of everything. */
  async #take(lock: Lock, mode: LockMode): Promise<boolean> {
    const { random } = this.#world;
    this.#letGo = new AbortController();
    const noqueue = random.chance(0.15);
    const patience = random.chance(0.15) ? new AbortController() : null;
    if (patience !== null) {
      this.#process.env.clock.after(random.between(1, 200), () => patience.abort());
    }
    const { status } = await lock.convert(mode, { noqueue, ...(patience === null ? {} : { signal: patience.signal }) });
    if (status !== "granted") await this.#release(lock);
    return status === "granted";
  }

  /** For a while, or until somebody else wants it. */
  async #hold(): Promise<void> {
    this.state = "holding";
    const forEver = this.#world.random.chance(0.2);
    await this.#sleep(forEver ? [1e7, 1e7] : this.#scenario.hold, this.#letGo.signal);
    this.state = "waiting";
  }

  async #release(lock: Lock): Promise<void> {
    if (lock.mode !== "NL") await lock.convert("NL");
  }
}
