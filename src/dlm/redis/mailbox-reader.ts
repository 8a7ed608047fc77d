import { sleep } from "../../env/clock.ts";
import type { Env } from "../../env/env.ts";
import type { LockEvent, LockspaceId } from "../lock-call.ts";
import type { WatchedMember } from "../lock-master.ts";
import { mailboxKey } from "./redis-keys.ts";
import type { LinkSubscription, RedisLink } from "./redis-link.ts";
import { PING_MS } from "./redis-options.ts";
import { unpackMessage } from "./redis-wire.ts";

interface Mailbox {
  readonly lockspace: LockspaceId;
  readonly member: WatchedMember;
  readonly deliver: (events: readonly LockEvent[]) => void;
}

export interface MailboxReader {
  /** What is heard waits until `resume`: an answer is on its way that brings everything before it. Calls pair up. */
  pause(): void;
  resume(): void;
  stop(): void;
}

/**
 * Hears of what others put into one member's mailbox, over a connection of its own, which it closes. The channel has the
 * name of the mailbox, and each message carries the event itself (redis/lua/commit.lua). It only brings events earlier: the
 * mailbox keeps them, every answer to a call brings those that are missing, and what was said while the connection was
 * down is asked for when it is there again.
 */
export function readMailbox(
  connect: (subscription: LinkSubscription) => RedisLink,
  env: Env,
  { lockspace, member, deliver }: Mailbox,
): MailboxReader {
  const stopped = new AbortController();
  const held: LockEvent[] = [];
  let paused = 0;

  const hear = (message: Buffer): void => {
    if (stopped.signal.aborted) return;
    const heard = unpackMessage(message);
    if (heard === null) {
      deliver([]); // what lies there will be asked for
    } else if (heard.epoch !== member.epoch || heard.incarnation !== member.incarnation) {
      // The slot was given away, or its owner has entered another epoch.
    } else if (paused > 0) {
      held.push(heard.event);
    } else {
      deliver([heard.event]);
    }
  };
  const link = connect({ channel: mailboxKey(lockspace, member.slot), hear });
  const listening = link.onUp((up) => {
    if (up) deliver([]);
  });

  /** A connection that is half-open is silent like one of which nobody speaks. */
  const keepAwake = async (): Promise<void> => {
    for (;;) {
      await sleep(env.clock, PING_MS, stopped.signal);
      if (stopped.signal.aborted) return;
      await link.send("PING").catch(() => {}); // the link makes the next one
    }
  };
  void link.start().then(keepAwake);
  return {
    pause: () => {
      paused += 1;
    },
    resume: () => {
      if (held.length === 0) {
        paused -= 1;
        return;
      }
      // Who got the answer sees it, and what came with it, first.
      setImmediate(() => {
        paused -= 1;
        if (paused > 0 || held.length === 0) return;
        const events = held.splice(0);
        if (!stopped.signal.aborted) deliver(events);
      });
    },
    stop: () => {
      stopped.abort();
      listening.stop();
      link.close();
    },
  };
}
