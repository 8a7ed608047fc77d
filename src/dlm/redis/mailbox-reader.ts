import { deferred } from "../../base/deferred.ts";
import { MdError } from "../../base/md-error.ts";
import { sleep } from "../../env/clock.ts";
import type { Env } from "../../env/env.ts";
import type { LockEvent, LockspaceId } from "../lock-call.ts";
import type { WatchedMember } from "../lock-master.ts";
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

export interface MailboxReader {
  /** No new read until `resume`: an answer is on its way that brings everything there is. Calls pair up. */
  pause(): void;
  /** `events`: what the answer brought. */
  resume(events: readonly LockEvent[]): void;
  stop(): void;
}

/**
 * Reads one member's mailbox over a connection of its own, which it closes: XREAD BLOCK from its own cursor, so that
 * nothing that was sent while the connection was down is missed. It only brings events earlier; without it they come
 * with the next renewal.
 */
export function readMailbox(link: RedisLink, env: Env, mailbox: Mailbox): MailboxReader {
  const { lockspace, member, deliver } = mailbox;
  const stopped = new AbortController();
  const key = mailboxKey(lockspace, member.slot);
  let cursor = `${member.epoch}-0`;
  let paused = 0;
  let quiet = deferred<void>();
  quiet.resolve();

  const run = async (): Promise<void> => {
    while (!stopped.signal.aborted) {
      try {
        await quiet.promise;
        if (stopped.signal.aborted) break;
        const entries = readEntries(await link.send("XREAD", "BLOCK", BLOCK_MS, "STREAMS", key, cursor));
        // A slot that was given away: its mailbox is another member's.
        const own = entries.filter(({ incarnation }) => incarnation === member.incarnation);
        const events = own.map(({ json }) => readEvent(json));
        cursor = laterOf(entries.at(-1)?.id ?? cursor, cursor);
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
    pause: () => {
      if (paused === 0) quiet = deferred();
      paused += 1;
    },
    resume: (events) => {
      const last = events.at(-1);
      if (last !== undefined) cursor = laterOf(cursor, `${member.epoch}-${last.n}`);
      const { resolve } = quiet;
      // Who got the answer often has the next call ready: it is made in this turn of the event loop.
      setImmediate(() => {
        paused -= 1;
        if (paused === 0) resolve();
      });
    },
    stop: () => {
      stopped.abort();
      quiet.resolve();
      link.close();
    },
  };
}

/** Ids are `<epoch>-<n>`, and an epoch's numbers begin anew. */
function laterOf(a: string, b: string): string {
  const [epochA = 0, nA = 0] = a.split("-").map(Number);
  const [epochB = 0, nB = 0] = b.split("-").map(Number);
  return epochA > epochB || (epochA === epochB && nA >= nB) ? a : b;
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
