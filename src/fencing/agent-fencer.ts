import { accessSync, constants, statSync } from "node:fs";
import { deferred } from "../base/deferred.ts";
import { MdError } from "../base/md-error.ts";
import type { FenceAttempt, FenceOutcome, Fencer, FenceVictim } from "../dlm/fencer.ts";
import { sleep } from "../env/clock.ts";
import type { Env } from "../env/env.ts";
import { type ProgramRun, runProgram } from "./run-program.ts";
import { SharedAttempt } from "./shared-attempt.ts";

export interface AgentOptions {
  /** Absolute path of an executable that keeps to the ClusterLabs fence agent contract. */
  readonly command: string;
  /** Milliseconds for one call of it. */
  readonly timeoutMs: number;
  /** Further calls after one that failed. */
  readonly retries: number;
  /** After `off`, ask it for `status`, and believe in the end only when that says off (exit status 2). */
  readonly verify: boolean;
  /** What the agent calls a node: the `plug` key. A node that is not listed goes by its own name. */
  readonly plugs: ReadonlyMap<string, string>;
  /** Passed on as they are, e.g. `ip`, `username`, `password_script`. */
  readonly pairs: ReadonlyMap<string, string>;
}

interface Running {
  readonly shared: SharedAttempt;
  readonly outcome: Promise<FenceOutcome>;
}

const RETRY_MS = 1000;
/** Exit status of `action=status` when the machine is off. */
const IS_OFF = 2;

/** E_VALUE for a command that is not there or cannot be executed: better now than when a node is dead. */
export function checkAgent({ command }: AgentOptions): void {
  const refuse = (why: string): never => {
    throw new MdError("E_VALUE", `fence: the agent ${command} cannot be used: ${why}`, {
      hint: "give the absolute path of an executable fence agent: --fence='command=/usr/sbin/fence_...'",
    });
  };
  if (!command.startsWith("/")) refuse("it is not an absolute path");
  try {
    if (!statSync(command).isFile()) refuse("it is not a file");
    accessSync(command, constants.X_OK);
  } catch (error) {
    if (error instanceof MdError) throw error;
    const code = error instanceof Error && "code" in error ? error.code : "";
    refuse(code === "ENOENT" ? "it does not exist" : code === "EACCES" ? "it is not executable" : String(error));
  }
}

/**
 * Power fencing by an external agent (dlm.md 5.7, item 1). One that says with exit status 0 that the machine is off is
 * believed; anything else, and no answer in time, is no proof of anything.
 */
export class AgentFencer implements Fencer {
  readonly about = "fence agent";
  readonly timeoutMs: number;
  readonly #options: AgentOptions;
  readonly #env: Env;
  /** By node: several arrays may find the same machine dead at once. */
  readonly #running = new Map<string, Running>();

  constructor(options: AgentOptions, env: Env) {
    this.#options = options;
    this.#env = env;
    const { timeoutMs, retries, verify } = options;
    const pauses = RETRY_MS * (2 ** retries - 1);
    this.timeoutMs = (retries + 1) * timeoutMs * (verify ? 2 : 1) + pauses;
  }

  async fence(victim: FenceVictim, attempt: FenceAttempt): Promise<FenceOutcome> {
    const { node } = victim;
    for (let running = this.#running.get(node); running !== undefined; running = this.#running.get(node)) {
      if (!running.shared.signal.aborted) return running.shared.join(attempt, running.outcome);
      // One that was given up comes to its end first: two agents must not meet at one machine.
      await running.outcome;
    }
    const shared = new SharedAttempt();
    const joined = deferred<void>();
    const outcome = joined.promise.then(() => this.#fence(victim, shared)).finally(() => this.#running.delete(node));
    this.#running.set(node, { shared, outcome });
    const wanted = shared.join(attempt, outcome);
    joined.resolve();
    return wanted;
  }

  async #fence(victim: FenceVictim, attempt: FenceAttempt): Promise<FenceOutcome> {
    const { retries } = this.#options;
    for (let tries = 0; ; tries++) {
      const outcome = await this.#try(victim, attempt);
      if (outcome.ok || tries >= retries || attempt.signal.aborted) return outcome;
      await sleep(this.#env.clock, RETRY_MS * 2 ** tries, attempt.signal);
    }
  }

  async #try(victim: FenceVictim, attempt: FenceAttempt): Promise<FenceOutcome> {
    const { command, verify } = this.#options;
    // An agent knows names only: by now the machine of that name may be up again, and well.
    if (!(await attempt.isWanted())) {
      const why = "nobody confirms that this life of it is still to be ended";
      return { ok: false, evidence: `fence agent ${command}: ${victim.node} was left alone: ${why}` };
    }
    const { signal } = attempt;
    const off = await this.#run("off", victim, signal);
    if (off.status !== 0) return { ok: false, evidence: `fence agent ${command}: off: ${failureOf(off)}` };
    if (!verify) return { ok: true, evidence: `fence agent ${command} says that ${victim.node} is off` };
    const state = await this.#run("status", victim, signal);
    if (state.status === IS_OFF) {
      return { ok: true, evidence: `fence agent ${command}: ${victim.node} is off, and its status says so` };
    }
    const says = state.status === 0 ? "its status says that the machine is still on" : `status: ${failureOf(state)}`;
    return { ok: false, evidence: `fence agent ${command}: off succeeded, but ${says}` };
  }

  async #run(action: "off" | "status", victim: FenceVictim, signal: AbortSignal): Promise<ProgramRun> {
    const { command, timeoutMs, plugs, pairs } = this.#options;
    const { clock, log } = this.#env;
    const keys = new Map<string, string>([
      ...pairs,
      ["action", action],
      ["node", victim.node],
      ["nodename", victim.node],
      ["plug", plugs.get(victim.node) ?? victim.node],
      ["slot", String(victim.slot)],
      ["generation", String(victim.generation)],
      ["fail_time", String(Math.floor(clock.wall() / 1000))],
    ]);
    const input = [...keys].map(([key, value]) => `${key}=${value}\n`).join("");
    const started = clock.now();
    const run = this.#withoutSecrets(await runProgram(command, [], { input, limitMs: timeoutMs, clock, signal }));
    const ms = Math.round(clock.now() - started);
    const fields = { evt: "fence.agent", node: victim.node, action, status: run.status, ms, output: run.output };
    const expected = run.status === 0 || (action === "status" && run.status === IS_OFF);
    const text = `fence agent: ${action} of ${victim.node}: ${expected ? "done" : failureOf(run)}`;
    if (expected) log.info(fields, text);
    else log.error(fields, text);
    return run;
  }

  /** Some agents repeat what they were given. */
  #withoutSecrets(run: ProgramRun): ProgramRun {
    let { output } = run;
    for (const [key, value] of this.#options.pairs) {
      if (/pass|secret|token/i.test(key) && value !== "") output = output.replaceAll(value, "***");
    }
    return { ...run, output };
  }
}

function failureOf({ status, killed, output }: ProgramRun): string {
  const how = killed ?? `exit status ${status}`;
  return output === "" ? how : `${how}: ${output.slice(-200)}`;
}
