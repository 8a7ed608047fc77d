import { Redis } from "ioredis";
import { sleep } from "../../env/clock.ts";
import type { Env } from "../../env/env.ts";
import type { LockEvent, LockspaceId } from "../lock-call.ts";
import type { Subscription, WatchedMember } from "../lock-master.ts";
import { mailboxKey } from "./redis-keys.ts";
import { BLOCK_MS, type ConnectionOptions } from "./redis-options.ts";

const RETRY_MS = 200;

interface Mailbox {
  readonly lockspace: LockspaceId;
  readonly member: WatchedMember;
  readonly deliver: (events: readonly LockEvent[]) => void;
}

/** [[stream, [[id, ["i", incarnation, "e", event]], ...]]], or null after BLOCK_MS. */
type StreamReply = readonly [readonly [string, readonly (readonly [string, readonly string[]])[]]] | null;

/**
 * Reads one member's mailbox on a connection of its own: XREAD BLOCK from its own cursor. It only brings events
 * earlier; without it they come with the next renewal.
 */
export function readMailbox(options: ConnectionOptions, env: Env, mailbox: Mailbox): Subscription {
  const { lockspace, member, deliver } = mailbox;
  const client = new Redis(options);
  const stopped = new AbortController();
  const key = mailboxKey(lockspace, member.slot);
  client.on("error", () => {}); // the loop sees it as a failed command

  const run = async (): Promise<void> => {
    await client.connect().catch(() => {});
    let cursor = `${member.epoch}-0`;
    while (!stopped.signal.aborted) {
      try {
        const found = await client.call("XREAD", "BLOCK", BLOCK_MS, "STREAMS", key, cursor);
        const entries = (found as StreamReply)?.[0][1] ?? [];
        cursor = entries.at(-1)?.[0] ?? cursor;
        // A slot that was given away: its mailbox is another member's.
        const own = entries.filter(([, [, incarnation]]) => incarnation === member.incarnation);
        const events = own.map(([, [, , , event = "null"]]) => JSON.parse(event) as LockEvent);
        if (events.length > 0 && !stopped.signal.aborted) deliver(events);
      } catch (error) {
        if (stopped.signal.aborted) break;
        env.log.debug({ evt: "dlm.reader", err: String(error) }, "mailbox reader failed, trying again");
        await sleep(env.clock, RETRY_MS, stopped.signal);
      }
    }
  };
  void run();
  return {
    stop: () => {
      stopped.abort();
      client.disconnect();
    },
  };
}
