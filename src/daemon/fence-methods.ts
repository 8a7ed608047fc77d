import { MdError } from "../base/md-error.ts";
import type { SlotNumber } from "../base/units.ts";
import type { ArrayAccess } from "../cluster/cluster-deps.ts";
import type { Fencer } from "../dlm/fencer.ts";
import type { Env } from "../env/env.ts";
import { AgentFencer, checkAgent } from "../fencing/agent-fencer.ts";
import { allOf } from "../fencing/all-of.ts";
import { ArrayReservations } from "../fencing/array-reservations.ts";
import { PillFencer, pillInWords } from "../fencing/pill-fencer.ts";
import { SgPersist } from "../fencing/sg-persist.ts";
import type { FenceConfig } from "./fence-config.ts";

interface FenceMethodsOptions {
  readonly config: FenceConfig;
  readonly cluster: string;
  readonly leaseMs: number;
  readonly env: Env;
}

/** The configured methods of fencing: what is common to all arrays, and how to make those of one array. */
export class FenceMethods {
  /** For people; null: there are none, and the lease is all there is. */
  readonly inWords: string | null;
  /** Nothing but leases makes sure that a dead node writes nothing. */
  readonly isLeaseOnly: boolean;
  readonly #options: FenceMethodsOptions;
  readonly #agent: AgentFencer | null;

  /** E_VALUE for a method that cannot work on this host: better now than when a node is dead. */
  static async create(options: FenceMethodsOptions): Promise<FenceMethods> {
    const { agent, reservations } = options.config;
    if (agent !== null) checkAgent(agent);
    const missing = reservations ? await new SgPersist(options.env.clock).missing() : null;
    if (missing !== null) {
      throw new MdError("E_VALUE", `fence: reservations need the program sg_persist: ${missing}`, {
        hint: "apt install sg3-utils",
      });
    }
    return new FenceMethods(options);
  }

  private constructor(options: FenceMethodsOptions) {
    const { agent, pill, reservations, watchdog } = options.config;
    this.#options = options;
    this.#agent = agent === null ? null : new AgentFencer(agent, options.env);
    const watchdogMs = watchdog?.timeoutMs ?? null;
    this.isLeaseOnly = agent === null && !reservations && !(pill && watchdog !== null);
    const words = [
      ...(reservations ? [ArrayReservations.inWords] : []),
      ...(pill ? [pillInWords(watchdogMs)] : []),
      ...(this.#agent === null ? [] : [this.#agent.about]),
    ];
    const text = words.length === 0 ? null : words.join(" + ");
    this.inWords = text !== null && this.isLeaseOnly ? `lease + ${text}` : text;
  }

  /** `name` is the lockspace's. E_VALUE when a method cannot work with this array. */
  forArray(name: string, access: ArrayAccess): ArrayFencing {
    const { config, cluster, leaseMs, env } = this.#options;
    if (config.pill && !access.hasRecords()) {
      throw new MdError(
        "E_VALUE",
        "fence: pill: the members have no room for it between their bitmaps and their data",
        {
          hint: "create the array with a larger --data-offset, or use another method: docs/fencing.md",
        },
      );
    }
    const members = (): readonly string[] => access.members();
    const reservations = config.reservations
      ? new ArrayReservations({ lockspace: `${cluster}/${name}`, members, env })
      : null;
    const watchdogMs = config.watchdog?.timeoutMs ?? null;
    const pill = config.pill
      ? new PillFencer({ condemn: (victim, signal) => access.condemn(victim, signal), watchdogMs, leaseMs, env })
      : null;
    return new ArrayFencing([reservations, pill, this.#agent], reservations, members);
  }
}

/** The methods of one array on this node, through its life there. */
export class ArrayFencing {
  /** Null: none is configured. */
  readonly fencer: Fencer | null;
  readonly #reservations: ArrayReservations | null;
  readonly #members: () => readonly string[];

  constructor(
    methods: readonly (Fencer | null)[],
    reservations: ArrayReservations | null,
    members: () => readonly string[],
  ) {
    const configured = methods.filter((method) => method !== null);
    this.fencer = configured.length === 0 ? null : allOf(configured);
    this.#reservations = reservations;
    this.#members = members;
  }

  /** Before the first write. Errors of `ArrayReservations.join`. */
  async joined(slot: SlotNumber, incarnation: string): Promise<void> {
    await this.#reservations?.join(slot, incarnation, this.#members());
  }

  /** A device that may become a member. */
  async admit(path: string): Promise<void> {
    await this.#reservations?.admit(path);
  }

  /** After the last write. */
  async left(): Promise<void> {
    await this.#reservations?.leave(this.#members());
  }
}
