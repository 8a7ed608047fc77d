import { MdError } from "../../src/base/md-error.ts";
import type { LockCall, LockEvent, LockReply, LockspaceId } from "../../src/dlm/lock-call.ts";
import type { LockMaster, Subscription, WatchedMember } from "../../src/dlm/lock-master.ts";

/** The way of one client to a lock server, to be broken: before the call is executed, after it, or without a word. */
export class Cable implements LockMaster {
  readonly about = "cable";
  state: "up" | "no request" | "no reply" | "silent" = "up";
  server: LockMaster;
  readonly calls: LockCall[] = [];

  constructor(server: LockMaster) {
    this.server = server;
  }

  async call(lockspace: LockspaceId, call: LockCall): Promise<LockReply> {
    this.calls.push(call);
    if (this.state === "silent") return new Promise(() => {});
    if (this.state === "no request") throw new MdError("E_LOCK_SERVICE_LOST", "cut");
    const reply = await this.server.call(lockspace, call);
    if (this.state === "no reply") throw new MdError("E_LOCK_SERVICE_LOST", "cut");
    return reply;
  }

  watch(lockspace: LockspaceId, member: WatchedMember, deliver: (events: readonly LockEvent[]) => void): Subscription {
    return this.server.watch(lockspace, member, (events) => {
      if (this.state === "up") deliver(events);
    });
  }

  onReachable(): Subscription {
    return { stop: () => {} };
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}
