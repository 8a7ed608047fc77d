import { type Check, isObject, natural } from "../check-shape.ts";
import type { WireReply } from "../known-members.ts";
import type { BatchStep, LockCall, LockEvent, MailboxRecord, MemberCall } from "../lock-call.ts";
import { isLockEvent, parseReplyRest } from "../lock-reply-parser.ts";
import { PackedWriter } from "./packed-writer.ts";

/**
 * Calls, replies and events as redis/lua packs and unpacks them: numbers as doubles, the low byte first, since the Lua
 * of Redis spends more on numbers in text than on locking. What few calls carry is JSON behind it.
 */

/** What is sent with a call beside itself. */
export interface CallContext {
  /** The reply begins with it. */
  readonly mark: number;
  /** The name of the function library. */
  readonly code: string;
  /** The generation of the list of members that need not be repeated. */
  readonly known: number | undefined;
}

const writer = new PackedWriter();

/** ARGV of a call. To be copied before the next one is packed. */
export function packCall(call: LockCall, { mark, code, known }: CallContext): Buffer[] {
  const out = writer.begin().double(mark);
  switch (call.op) {
    case "hello":
    case "dump":
      return [out.take()];
    case "format":
      return [out.take(), json(call)];
    case "join":
    case "recover":
      return [out.take(), json({ ...call, code })];
    case "evict":
    case "fence_begin":
    case "fence_result":
      return [packHeader(out, call).take(), json(call)];
    case "leave":
    case "poll":
      return [packHeader(out, call).take()];
    case "renew":
      return [
        packHeader(out, call)
          .double(call.counter)
          .double(call.generation ?? 0)
          .double(known ?? -1)
          .take(),
      ];
    case "lock":
      return [packStep(packHeader(out, call), call, call.bast ? 1 : 0).take()];
    case "convert":
      return [packStep(packHeader(out, call), call, call.lkid).take()];
    case "unlock":
      return [packStep(packHeader(out, call), { mode: 0, ...call }, call.lkid).take()];
    case "batch":
      packHeader(out, call).double(call.steps.length);
      for (const step of call.steps) packStep(out, step, step.lkid);
      return [out.take()];
  }
}

const json = (value: object): Buffer => Buffer.from(JSON.stringify(value));

const packHeader = (out: PackedWriter, call: MemberCall): PackedWriter =>
  out
    .double(call.slot)
    .double(call.epoch)
    .double(call.rid)
    .double(call.ack)
    .double(call.seen)
    .shortText(call.incarnation);

const packStep = (out: PackedWriter, step: Omit<BatchStep, "lkid">, first: number): PackedWriter =>
  out
    .double(first)
    .double(step.mode)
    .double(step.flags)
    .text(step.name)
    .byte(step.lvb === undefined ? 0 : 1)
    .text(step.lvb ?? "");

/** mark, rc, value, seq, epoch, generation, length of the events. */
const REPLY_HEAD = 56;
/** length, kind, n, seq. */
const EVENT_HEAD = 21;
const CAST_HEAD = 61;
const BAST_SIZE = 37;

const CAST = 99; // c
const CAST_WITH_VALUE = 118; // v
const BAST = 98; // b
const OTHER = 106; // j

/**
 * The reply to the call with this mark. Null: it is none, or another call's. Replies have no names in Redis: they are told
 * apart by their order, so one that a broken server or network repeats would be taken for the answer to the next call.
 */
export function unpackReply(bytes: unknown, mark: number): WireReply | null {
  if (!Buffer.isBuffer(bytes) || bytes.length < REPLY_HEAD || bytes.readDoubleLE(0) !== mark) return null;
  const rc = bytes.readDoubleLE(8);
  const value = bytes.readDoubleLE(16);
  const seq = bytes.readDoubleLE(24);
  const epoch = bytes.readDoubleLE(32);
  const generation = bytes.readDoubleLE(40);
  const length = bytes.readDoubleLE(48);
  if (!Number.isSafeInteger(rc) || !areNatural(value, seq, epoch, generation, length)) return null;
  const end = REPLY_HEAD + length;
  if (end > bytes.length) return null;
  const events = unpackEvents(bytes, REPLY_HEAD, end);
  if (events === null) return null;
  const head = { rc, value, seq, epoch, generation, events };
  return end === bytes.length ? head : withRest(head, bytes.toString("utf8", end));
}

/** A dump's events are those of all mailboxes, one after the other; each mailbox says how many are its own. */
function withRest(head: WireReply, text: string): WireReply | null {
  const rest = parse(text);
  if (!isObject(rest)) return null;
  const { mailboxes } = rest;
  if (!Array.isArray(mailboxes)) return parseReplyRest(rest, head);
  let from = 0;
  const whole = mailboxes.map((mailbox: Partial<MailboxRecord> | null): unknown => {
    const count: unknown = mailbox?.events;
    if (!natural(count)) return null;
    const events = head.events.slice(from, from + (count as number));
    from += count as number;
    return { ...mailbox, events };
  });
  return parseReplyRest({ ...rest, mailboxes: whole }, { ...head, events: [] });
}

function unpackEvents(bytes: Buffer, from: number, end: number): LockEvent[] | null {
  const events: LockEvent[] = [];
  let at = from;
  while (at < end) {
    const event = unpackEvent(bytes, at, end);
    if (event === null) return null;
    events.push(event);
    at += bytes.readUInt32LE(at);
  }
  return events;
}

function unpackEvent(bytes: Buffer, at: number, end: number): LockEvent | null {
  const size = at + 4 <= end ? bytes.readUInt32LE(at) : 0;
  if (size < EVENT_HEAD || at + size > end) return null;
  const kind = bytes[at + 4];
  const n = bytes.readDoubleLE(at + 5);
  const seq = bytes.readDoubleLE(at + 13);
  if (!areNatural(n, seq)) return null;
  if (kind === CAST ? size === CAST_HEAD : kind === CAST_WITH_VALUE && size >= CAST_HEAD) {
    const lkid = bytes.readDoubleLE(at + 21);
    const status = bytes.readDoubleLE(at + 29);
    const mode = bytes.readDoubleLE(at + 37);
    const flags = bytes.readDoubleLE(at + 45);
    const lvbSeq = bytes.readDoubleLE(at + 53);
    if (!areNatural(lkid, flags, lvbSeq) || !Number.isSafeInteger(status) || !Number.isSafeInteger(mode)) return null;
    const cast = { n, seq, type: "cast", lkid, status, mode, flags, lvbSeq } as const;
    return kind === CAST ? cast : { ...cast, lvb: bytes.toString("utf8", at + CAST_HEAD, at + size) };
  }
  if (kind === BAST && size === BAST_SIZE) {
    const lkid = bytes.readDoubleLE(at + 21);
    const mode = bytes.readDoubleLE(at + 29);
    return natural(lkid) && Number.isSafeInteger(mode) ? { n, seq, type: "bast", lkid, mode } : null;
  }
  if (kind !== OTHER) return null;
  const body = parse(`{${bytes.toString("utf8", at + EVENT_HEAD, at + size)}}`);
  const event: unknown = isObject(body) ? { n, seq, ...body } : null;
  return isLockEvent(event) ? event : null;
}

/** What a member hears on the channel of its mailbox. */
export interface HeardEvent {
  readonly epoch: number;
  readonly incarnation: string;
  readonly event: LockEvent;
}

/** epoch, length of the incarnation (1 byte), the incarnation, the event. Null: it is none. */
export function unpackMessage(bytes: Buffer): HeardEvent | null {
  const from = 9 + (bytes[8] ?? 0);
  if (bytes.length < from) return null;
  const event = unpackEvent(bytes, from, bytes.length);
  if (event === null) return null;
  return { epoch: bytes.readDoubleLE(0), incarnation: bytes.toString("utf8", 9, from), event };
}

const areNatural = (...values: readonly number[]): boolean => values.every(natural as Check);

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
