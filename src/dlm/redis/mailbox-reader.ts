import { MdError } from "../../base/md-error.ts";
import { sleep } from "../../env/clock.ts";
import type { Env } from "../../env/env.ts";
import type { LockEvent, LockspaceId } from "../lock-call.ts";
import type { Subscription, WatchedMember } from "../lock-master.ts";
import { parseLockEvent } from "../lock-reply-parser.ts";
import { mailboxKey } from "./redis-keys.ts";
import type { RedisLink } from "./redis-link.ts";
import { BLOCK_MS } from "./redis-options.ts";

const RETRY_MS = 200;

interface Mailbox {
  readonly lockspace: LockspaceId;
  readonly member: WatchedMember;
  readonly deliver: (events: readonly LockEvent[]) => void;
}

interface Entry {
  /** `<epoch>-<n>`, which is where the next read goes on. */
  readonly id: string;
  readonly incarnation: string;
  readonly json: string;
}

/**
 * Reads one member's mailbox over a connection of its own, which it closes: XREAD BLOCK from its own cursor, so that
 * nothing that was sent while the connection was down is missed. It only brings events earlier; without it they come
 * with the next renewal.
 */
export function readMailbox(link: RedisLink, env: Env, mailbox: Mailbox): Subscription {
  const { lockspace, member, deliver } = mailbox;
  const stopped = new AbortController();
  const key = mailboxKey(lockspace, member.slot);

  const run = async (): Promise<void> => {
    let cursor = `${member.epoch}-0`;
    while (!stopped.signal.aborted) {
      try {
        const entries = readEntries(await link.send("XREAD", "BLOCK", BLOCK_MS, "STREAMS", key, cursor));
        // A slot that was given away: its mailbox is another member's.
        const own = entries.filter(({ incarnation }) => incarnation === member.incarnation);
        const events = own.map(({ json }) => readEvent(json));
        cursor = entries.at(-1)?.id ?? cursor;
        if (events.length > 0 && !stopped.signal.aborted) deliver(events);
      } catch (error) {
        if (!(error instanceof MdError)) throw error;
        if (error.code === "E_CHECKSUM") link.drop(error);
        await sleep(env.clock, RETRY_MS, stopped.signal);
      }
    }
  };
  void link.start().then(run);
  return {
    stop: () => {
      stopped.abort();
      link.close();
    },
  };
}

const nonsense = (): MdError => new MdError("E_CHECKSUM", "what lies in the mailbox is no event of a lock server");

/** [[stream, [[id, ["i", incarnation, "e", event]], ...]]], or null after BLOCK_MS. */
function readEntries(reply: unknown): Entry[] {
  if (reply === null) return [];
  const [stream] = asArray(reply);
  const [, entries] = asArray(stream);
  return asArray(entries).map((entry) => {
    const [id, fields] = asArray(entry);
    const [, incarnation, , json] = asArray(fields);
    if (typeof id !== "string" || !/^\d+-\d+$/.test(id)) throw nonsense();
    return { id, incarnation: String(incarnation), json: String(json) };
  });
}

function asArray(value: unknown): readonly unknown[] {
  if (!Array.isArray(value)) throw nonsense();
  return value;
}

function readEvent(json: string): LockEvent {
  const event = parseLockEvent(json);
  if (event === null) throw nonsense();
  return event;
}
