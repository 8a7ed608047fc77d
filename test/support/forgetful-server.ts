import type { LockCall, LockEvent, LockReply, LockspaceId } from "../../src/dlm/lock-call.ts";
import type { LockMaster, Subscription, WatchedMember } from "../../src/dlm/lock-master.ts";
import { lockStatus } from "../../src/dlm/lock-status.ts";
import { MemoryLockMaster } from "../../src/dlm/memory-lock-master.ts";

/** A lock server that can lose what it knows, wholly or back to an earlier point. Its next life knows that it may have. */
export class ForgetfulServer implements LockMaster {
  readonly about = "forgetful";
  #life = 0;
  #server = this.#newLife();
  /** What changed something, in order: what a rolled back server is made of. */
  #history: [LockspaceId, LockCall][] = [];
  /** Lockspaces that were rolled back, and that nobody has begun to rebuild: they belong to the life before. */
  #foreign = false;

  async call(lockspace: LockspaceId, call: LockCall): Promise<LockReply> {
    if (this.#foreign && call.op === "recover") {
      // What was kept is not trusted: only its numbers count, and the reports are above them or raise them.
      this.#foreign = false;
      this.#server = this.#newLife();
    }
    const reply = await this.#server.call(lockspace, call);
    if (this.#foreign && call.op !== "dump") {
      return { ...reply, rc: lockStatus.EIDENT, events: [], mayHaveForgotten: true, server: this.life };
    }
    this.#history.push([lockspace, call]);
    return reply;
  }

  get life(): string {
    return `life ${this.#life}`;
  }

  /** As after a restart without any memory. */
  lose(): void {
    this.#life += 1;
    this.#history = [];
    this.#foreign = false;
    this.#server = this.#newLife();
  }

  /** As after a restart that has lost the last `calls` calls. */
  async rollBack(calls: number): Promise<void> {
    const kept = this.#history.slice(0, Math.max(0, this.#history.length - calls));
    this.lose();
    for (const [lockspace, call] of kept) await this.#server.call(lockspace, call);
    this.#history = kept;
    this.#foreign = true;
  }

  watch(lockspace: LockspaceId, member: WatchedMember, deliver: (events: readonly LockEvent[]) => void): Subscription {
    return this.#server.watch(lockspace, member, deliver);
  }

  onReachable(): Subscription {
    return { stop: () => {} };
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  #newLife(): MemoryLockMaster {
    return new MemoryLockMaster({ mayHaveForgotten: () => this.#life > 0, life: `life ${this.#life}` });
  }
}
