import type { LockCall, LockReply, LockspaceId } from "../dlm/lock-call.ts";
import { lockStatus } from "../dlm/lock-status.ts";
import { MemoryLockMaster } from "../dlm/memory-lock-master.ts";

/** What a lock server remembers of a lockspace of its former life: enough to say that it is not its own. */
interface Remembered {
  readonly lsid: string;
  readonly epoch: number;
  readonly seq: number;
  readonly generation: number;
}

type Answered = Pick<LockReply, "epoch" | "seq" | "generation">;

/** How many calls back a life may be succeeded from. */
const LONGEST_LOSS = 50;

/**
 * One life of one lock server. What it got from a former life (a file, a replication) it keeps to itself: as the Redis
 * functions do, it answers EIDENT until a former member opens a recovery or somebody creates the lockspace anew.
 */
export class SimPrimary {
  readonly life: string;
  readonly #mayHaveForgotten: boolean;
  readonly #remembered: Map<string, Remembered>;
  /** For watching. */
  readonly master: MemoryLockMaster;
  #lockspace: LockspaceId | null = null;
  /** By lockspace, newest last: the state after each of the last calls. */
  readonly #history = new Map<string, Answered[]>();
  readonly #lsids = new Map<string, string>();

  constructor(
    life: string,
    {
      mayHaveForgotten = false,
      remembered = new Map<string, Remembered>(),
    }: {
      readonly mayHaveForgotten?: boolean;
      readonly remembered?: Map<string, Remembered>;
    } = {},
  ) {
    this.life = life;
    this.#mayHaveForgotten = mayHaveForgotten;
    this.#remembered = remembered;
    this.master = new MemoryLockMaster({ mayHaveForgotten: () => mayHaveForgotten, life });
  }

  async execute(lockspace: LockspaceId, call: LockCall): Promise<LockReply> {
    this.#lockspace = lockspace;
    const key = keyOf(lockspace);
    const old = this.#remembered.get(key);
    if (old !== undefined) {
      const refused = this.#refuse(old, call);
      if (refused !== null) return refused;
      this.#remembered.delete(key);
    }
    const reply = await this.master.call(lockspace, call);
    this.#note(key, call, reply);
    return reply;
  }

  /** Null: the call makes an end of what is remembered. */
  #refuse(old: Remembered, call: LockCall): LockReply | null {
    const { lsid, epoch, seq, generation } = old;
    const answer = (rc: number): LockReply => ({
      ...{ rc, value: 0, seq, epoch, generation, events: [] },
      ...{ lsid, server: this.life, mayHaveForgotten: this.#mayHaveForgotten },
    });
    if (call.op === "recover") {
      if (call.lsid !== lsid) return answer(lockStatus.EFENCED);
      return call.server !== undefined && call.server !== this.life ? answer(lockStatus.EIDENT) : null;
    }
    return call.op === "format" && call.replaces === lsid ? null : answer(lockStatus.EIDENT);
  }

  #note(key: string, call: LockCall, { rc, epoch, seq, generation }: LockReply): void {
    if (call.op === "format" && rc === lockStatus.OK) this.#lsids.set(key, call.lsid);
    if (call.op === "recover" && rc === lockStatus.OK) this.#lsids.set(key, call.lsid);
    const history = this.#history.get(key) ?? [];
    this.#history.set(key, history);
    history.push({ epoch, seq, generation });
    if (history.length > LONGEST_LOSS) history.shift();
  }

  /** The next life, which has all of this one's state but the last `calls` calls. */
  succeededBy(life: string, calls: number): SimPrimary {
    const remembered = new Map(this.#remembered);
    for (const [key, history] of this.#history) {
      const lsid = this.#lsids.get(key);
      const kept = history.at(-1 - calls);
      if (lsid !== undefined && kept !== undefined && kept.epoch > 0) remembered.set(key, { lsid, ...kept });
    }
    return new SimPrimary(life, { mayHaveForgotten: true, remembered });
  }

  /** Everything about the one lockspace there is; null: nobody has asked for one yet. */
  async dump(): Promise<LockReply | null> {
    return this.#lockspace === null ? null : this.master.call(this.#lockspace, { op: "dump" });
  }

  /** Every lock, for people: a line a resource. */
  async describe(): Promise<readonly string[]> {
    const { resources = [], members = [] } = (await this.dump()) ?? {};
    const list = members.map(({ slot, node, state }) => `slot ${slot - 1} is ${node}, ${state}`);
    const locks = resources.map(({ name, locks: all }) => {
      const each = all.map(({ slot, queue, gr, rq }) => `slot ${slot - 1} ${queue} ${gr}${rq < 0 ? "" : `->${rq}`}`);
      return `${name}: ${each.join(", ")}`;
    });
    return [...list, ...locks];
  }
}

const keyOf = ({ cluster, name }: LockspaceId): string => `${cluster}/${name}`;
