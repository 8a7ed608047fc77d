import type { Env } from "../env/env.ts";
import type { LockEvent } from "./lock-call.ts";
import { lockFlag } from "./lock-flags.ts";
import { type LockMode, lockModes } from "./lock-mode.ts";
import type { LeaseSink } from "./lockspace.ts";
import type { BareCall } from "./member-session.ts";

const isWeaker = (mode: LockMode, than: LockMode): boolean => {
  const middle = (mode === "PR" && than === "CW") || (mode === "CW" && than === "PR");
  return !middle && lockModes.indexOf(mode) < lockModes.indexOf(than);
};

/**
 * Tells the log (level trace) of each change of what this node may act on: `lock.held` when a lock's mode changes,
 * `lease.until` when its lease moves. `at` is milliseconds of CLOCK_MONOTONIC, so the lines of all nodes of a host tell
 * whether two of them ever held what excludes each other. A mode counts from its grant until giving it up is asked for.
 */
export class HoldTrace {
  readonly #env: Env;
  readonly #lockspace: string;
  /** By lock id. */
  readonly #held = new Map<number, LockMode>();
  readonly #names = new Map<number, string>();

  constructor(env: Env, lockspace: string) {
    this.#env = env;
    this.#lockspace = lockspace;
  }

  /** The same sink, and a line for each time that it is told something. */
  lease(sink: LeaseSink): LeaseSink {
    return (writeUntilMs, readUntilMs) => {
      sink(writeUntilMs, readUntilMs);
      if (this.#env.log.tracing) this.#tell({ evt: "lease.until", until: writeUntilMs }, "lease moved");
    };
  }

  /** Before a call is sent: what it gives up is not held any more. */
  asked(call: BareCall): void {
    if (call.op === "batch") for (const { lkid, name, mode } of call.steps) this.#asked(lkid, name, mode);
    else if (call.op === "convert") this.#asked(call.lkid, call.name, call.mode);
    else if (call.op === "unlock" && (call.flags & lockFlag.CANCEL) === 0) this.#asked(call.lkid, call.name, 0);
  }

  #asked(lkid: number, name: string, number: number): void {
    this.#names.set(lkid, name);
    const mode = lockModes[number] ?? "NL";
    if (isWeaker(mode, this.#held.get(lkid) ?? "NL")) this.#is(lkid, mode);
  }

  /** Before a completion is handed on. */
  granted({ lkid, mode }: Extract<LockEvent, { readonly type: "cast" }>): void {
    this.#is(lkid, lockModes[mode] ?? "NL");
  }

  #is(lkid: number, mode: LockMode): void {
    if (mode === (this.#held.get(lkid) ?? "NL")) return;
    if (mode === "NL") this.#held.delete(lkid);
    else this.#held.set(lkid, mode);
    if (!this.#env.log.tracing) return;
    const lock = this.#names.get(lkid) ?? `lock ${lkid}`;
    this.#tell({ evt: "lock.held", lock, lkid, mode }, `${lock} ${mode}`);
  }

  #tell(fields: Readonly<Record<string, unknown>>, text: string): void {
    const { clock, log } = this.#env;
    log.trace({ ...fields, lockspace: this.#lockspace, at: clock.now() }, text);
  }
}
