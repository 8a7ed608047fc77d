import { MdError } from "../base/md-error.ts";
import type { Lockspace, LockspaceMember } from "../dlm/lockspace.ts";
import { sleep } from "../env/clock.ts";
import type { Env } from "../env/env.ts";
import { cardResource, decodeNodeCard, encodeNodeCard, type NodeCard } from "./node-card.ts";

/** A newcomer needs a moment to write its card; a node of another version may never do it. */
const TRIES = 10;
const BETWEEN_MS = 500;

/**
 * What the daemons of a cluster tell each other of themselves. Each writes its card once, in a value block; the others
 * read all of them in one dump when the membership has changed. Nodes have no other way to talk, and need none.
 */
export class NodeCards {
  readonly #env: Env;
  /** By node name. What a node that is gone said last is kept. */
  readonly #cards = new Map<string, NodeCard>();
  #reading = false;
  #stopped = new AbortController();

  constructor(env: Env) {
    this.#env = env;
  }

  of(node: string): NodeCard | null {
    return this.#cards.get(node) ?? null;
  }

  /** Says who we are, for as long as we are a member. */
  async publish(lockspace: Lockspace, card: NodeCard): Promise<void> {
    try {
      const lock = await lockspace.open(cardResource(lockspace.slot), { lvb: true });
      await lock.convert("PW");
      await lock.convert("PW", { lvb: encodeNodeCard(card) });
    } catch (error) {
      // The membership has ended meanwhile; the next one has a card of its own.
      if (!(error instanceof MdError)) throw error;
    }
  }

  /** The membership has changed: reads until everybody's card is there. */
  async refresh(lockspace: Lockspace): Promise<void> {
    if (this.#reading) return;
    this.#reading = true;
    try {
      for (let tries = 0; tries < TRIES && !this.#stopped.signal.aborted; tries++) {
        if (await this.#read(lockspace)) return;
        await sleep(this.#env.clock, BETWEEN_MS, this.#stopped.signal);
      }
    } finally {
      this.#reading = false;
    }
  }

  stop(): void {
    this.#stopped.abort();
  }

  /** True: there is a card of every member. */
  async #read(lockspace: Lockspace): Promise<boolean> {
    try {
      const { resources, members } = await lockspace.dump();
      const known = members.map((member) => this.#take(member, resources));
      return known.every((found) => found);
    } catch (error) {
      if (!(error instanceof MdError)) throw error;
      return false;
    }
  }

  #take({ node, slot }: LockspaceMember, resources: Awaited<ReturnType<Lockspace["dump"]>>["resources"]): boolean {
    const resource = resources.find(({ name }) => name === cardResource(slot));
    // A card whose writer died is of a former owner of the slot.
    const lvb = resource?.lvbValid === true ? resource.lvb : null;
    const card = lvb === null ? null : decodeNodeCard(lvb);
    if (card !== null) this.#cards.set(node, card);
    return card !== null;
  }
}
