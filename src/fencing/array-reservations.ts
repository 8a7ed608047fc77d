import { statSync } from "node:fs";
import { MdError } from "../base/md-error.ts";
import { type SlotNumber, slotNumber } from "../base/units.ts";
import type { FenceAttempt, FenceOutcome, Fencer, FenceVictim } from "../dlm/fencer.ts";
import type { Env } from "../env/env.ts";
import { reservationKey } from "./reservation-key.ts";
import { SgPersist } from "./sg-persist.ts";

export interface ReservationOptions {
  /** `CLUSTER/NAME` of the array's lockspace. */
  readonly lockspace: string;
  /** Paths of the array's members that are in use now. */
  readonly members: () => readonly string[];
  readonly env: Env;
  readonly isBlockDevice?: (path: string) => boolean;
}

/** How long the commands for one member may take together, at most. */
const PER_MEMBER_MS = 60_000;
const MOST_MEMBERS = 8;
/** A slot that no member ever has. */
const GUEST = slotNumber(254);

const isBlockDevice = (path: string): boolean => statSync(path).isBlockDevice();

/**
 * Persistent reservations on all members of an array: each node registers a key there before it writes, and a dead one's
 * key is taken away. The storage then refuses what a late writer sends, and nothing of it is under way any more.
 */
export class ArrayReservations implements Fencer {
  static readonly inWords = "persistent reservations";
  readonly about = ArrayReservations.inWords;
  readonly timeoutMs = MOST_MEMBERS * PER_MEMBER_MS;
  readonly #options: ReservationOptions;
  readonly #scsi: SgPersist;
  #key: string | null = null;

  constructor(options: ReservationOptions) {
    this.#options = options;
    this.#scsi = new SgPersist(options.env.clock);
  }

  /** Registers this node on all `paths`, or on none. E_IO, E_VALUE: a member that cannot do it, by name. */
  async join(slot: SlotNumber, incarnation: string, paths: readonly string[]): Promise<void> {
    const key = reservationKey(this.#options.lockspace, slot, incarnation);
    const done: string[] = [];
    try {
      for (const path of paths) {
        await this.#register(path, key);
        done.push(path);
      }
    } catch (error) {
      await this.#unregister(done, key);
      throw error;
    }
    this.#key = key;
    this.#options.env.log.info({ evt: "reservation.joined", key, members: paths.length }, "registered on all members");
  }

  /** A device that may become a member while we are there: it must do what the others do. Errors as of `join`. */
  async admit(path: string): Promise<void> {
    if (this.#key !== null) await this.#register(path, this.#key);
  }

  /** After the last write. */
  async leave(paths: readonly string[]): Promise<void> {
    const key = this.#key;
    this.#key = null;
    if (key !== null) await this.#unregister(paths, key);
  }

  async fence({ node, slot, incarnation }: FenceVictim, { signal }: FenceAttempt): Promise<FenceOutcome> {
    const victim = reservationKey(this.#options.lockspace, slot, incarnation);
    const paths = this.#options.members();
    if (paths.length === 0) return { ok: false, evidence: "persistent reservations: there is no member" };
    const results = await Promise.allSettled(paths.map((path) => this.#preempt(path, victim, signal)));
    for (const result of results) {
      if (result.status === "fulfilled") continue;
      if (!(result.reason instanceof MdError)) throw result.reason;
      return { ok: false, evidence: `persistent reservations: ${result.reason.message}` };
    }
    return { ok: true, evidence: `${node}'s key ${victim} is off all ${paths.length} members, which are reserved` };
  }

  /** A node that is about to join may have to fence before it has a slot: it registers as a guest, whom `join` replaces. */
  async #preempt(path: string, victim: string, signal: AbortSignal): Promise<void> {
    const key = this.#key ?? reservationKey(this.#options.lockspace, GUEST, "guest");
    if (this.#key === null) await this.#register(path, key, signal);
    await this.#scsi.preempt(path, key, victim, signal);
  }

  async #register(path: string, key: string, signal?: AbortSignal): Promise<void> {
    if (!(this.#options.isBlockDevice ?? isBlockDevice)(path)) {
      throw new MdError("E_VALUE", `${path} is a file: it takes no persistent reservations`, {
        why: "--fence=reservations protects nothing unless every member takes them",
        hint: "use SCSI devices as members, or another method: docs/fencing.md",
      });
    }
    await this.#scsi.register(path, key, signal);
  }

  async #unregister(paths: readonly string[], key: string): Promise<void> {
    for (const path of paths) {
      await this.#scsi.unregister(path, key).catch((error: unknown) => {
        if (!(error instanceof MdError)) throw error;
        this.#options.env.log.warn({ evt: "reservation.left", path, err: error.message }, "a key remains registered");
      });
    }
  }
}
