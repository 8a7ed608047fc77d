import { MdError } from "../base/md-error.ts";
import type { Clock } from "../env/clock.ts";
import { type ProgramRun, runProgram } from "./run-program.ts";

/** Write Exclusive, Registrants Only: others may read, but only who has registered a key may write. */
const TYPE = "5";
const LIMIT_MS = 15_000;

/** What a device says of its reservations. Keys are hexadecimal without leading zeros. */
export interface ReservationState {
  readonly keys: ReadonlySet<string>;
  /** Somebody holds a reservation of our type. */
  readonly isReserved: boolean;
}

/**
 * SCSI-3 persistent reservations of one device at a time, through sg_persist (sg3-utils). E_IO names device and reason. With
 * `signal` no further command is sent once it aborts; one that the device has already is carried out.
 */
export class SgPersist {
  readonly #clock: Clock;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Why it cannot be used; null if it can. */
  async missing(): Promise<string | null> {
    const { status, killed, output } = await this.#run(["--version"]);
    return status === 0 ? null : (killed ?? output);
  }

  /** Our key on the device, in place of whatever this host had registered there before; and a reservation, if there is none. */
  async register(device: string, key: string, signal?: AbortSignal): Promise<void> {
    await this.#must(device, "register a key on", ["--out", "--register-ignore", `--param-sark=${key}`], signal);
    if (!(await this.read(device, signal)).isReserved) await this.#reserve(device, key, signal);
    const { keys, isReserved } = await this.read(device, signal);
    if (!keys.has(key)) throw new MdError("E_IO", `${device} does not keep the key that was registered`);
    if (!isReserved) throw new MdError("E_IO", `${device} takes no reservation of type ${TYPE}`);
  }

  /** Another key instead of ours; a reservation that we hold goes with it, and is taken by whoever notices. */
  async unregister(device: string, key: string): Promise<void> {
    await this.#must(device, "unregister from", ["--out", "--register", `--param-rk=${key}`, "--param-sark=0"]);
  }

  /**
   * Takes the victim's key away and ends its commands in flight, then looks whether that is so: the victim is gone, we
   * are still there, and there is a reservation, without which nobody would be refused.
   */
  async preempt(device: string, key: string, victim: string, signal?: AbortSignal): Promise<void> {
    const before = await this.read(device, signal);
    if (!before.keys.has(key)) throw new MdError("E_IO", `our own key is not registered on ${device}`);
    if (before.keys.has(victim)) {
      const keys = [`--param-rk=${key}`, `--param-sark=${victim}`];
      await this.#must(device, "preempt on", ["--out", "--preempt-abort", `--prout-type=${TYPE}`, ...keys], signal);
    }
    if (!(await this.read(device, signal)).isReserved) await this.#reserve(device, key, signal);
    const after = await this.read(device, signal);
    if (after.keys.has(victim)) throw new MdError("E_IO", `${device} still has the victim's key`);
    if (!after.keys.has(key)) throw new MdError("E_IO", `${device} has lost our key`);
    if (!after.isReserved) throw new MdError("E_IO", `${device} has no reservation`);
  }

  async read(device: string, signal?: AbortSignal): Promise<ReservationState> {
    const keys = await this.#must(device, "read the keys of", ["--in", "--read-keys"], signal);
    const held = await this.#must(device, "read the reservation of", ["--in", "--read-reservation"], signal);
    return { keys: parseKeys(keys), isReserved: /type: Write Exclusive, registrants only/.test(held) };
  }

  /** Others may do the same at the same moment: one of them gets it. */
  async #reserve(device: string, key: string, signal?: AbortSignal): Promise<void> {
    await this.#run(
      ["--no-inquiry", "--out", "--reserve", `--param-rk=${key}`, `--prout-type=${TYPE}`, device],
      signal,
    );
  }

  async #must(device: string, what: string, args: readonly string[], signal?: AbortSignal): Promise<string> {
    const { status, killed, output } = await this.#run(["--no-inquiry", ...args, device], signal);
    if (status === 0) return output;
    const why = killed ?? `exit status ${status}: ${output.slice(-200)}`;
    throw new MdError("E_IO", `cannot ${what} ${device}: sg_persist: ${why}`);
  }

  #run(args: readonly string[], signal?: AbortSignal): Promise<ProgramRun> {
    const options = { input: "", limitMs: LIMIT_MS, clock: this.#clock };
    return runProgram("sg_persist", args, signal === undefined ? options : { ...options, signal });
  }
}

/** Each on a line of its own: `    0x123abc`. */
function parseKeys(output: string): ReadonlySet<string> {
  const [, list = ""] = output.split(/registered reservation keys? follows?:/);
  return new Set([...list.matchAll(/0x0*([0-9a-f]+)\b/g)].map(([, key = ""]) => key));
}
