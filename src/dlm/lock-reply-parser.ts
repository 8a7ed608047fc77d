import {
  boolean,
  type Checks,
  id,
  integer,
  isObject,
  list,
  natural,
  oneOf,
  optional,
  shape,
  text,
} from "./check-shape.ts";
import type { WireReply } from "./known-members.ts";
import type { LockEvent } from "./lock-call.ts";

/** The longest lists that a server may keep: 64 members, mailboxes of 10,000 events, and resources to match. */
const MOST = { members: 64, events: 20_000, resources: 100_000, locks: 100_000 } as const;

const node = text(64);
const member = { slot: natural, node };
const numbered: Checks = { n: natural, seq: natural };
const lvb = optional(text(1024));

const events: Readonly<Record<LockEvent["type"], (value: unknown) => boolean>> = {
  cast: shape({ ...numbered, lkid: natural, status: integer, mode: integer, flags: natural, lvbSeq: natural, lvb }),
  bast: shape({ ...numbered, lkid: natural, mode: integer }),
  prep: shape(numbered),
  failed: shape({ ...numbered, ...member }),
  joined: shape({ ...numbered, ...member }),
  left: shape({ ...numbered, ...member }),
  done: shape({ ...numbered, generation: natural, members: list(MOST.members, shape(member)) }),
};

const isType = (type: unknown): type is LockEvent["type"] => typeof type === "string" && Object.hasOwn(events, type);

/** May this value, which came from a lock server, be taken for an event? */
export const isLockEvent = (value: unknown): value is LockEvent =>
  isObject(value) && isType(value["type"]) && events[value["type"]](value);

const record = shape({
  ...member,
  incarnation: id,
  counter: natural,
  process: optional(shape({ host: text(256), pid: natural, started: text(64) })),
  state: oneOf("active", "fencing", "absent"),
  fence: optional(shape({ token: natural, owner: id, tries: natural })),
});

const queued: Checks = {
  lkid: natural,
  queue: oneOf("g", "c", "w"),
  gr: integer,
  rq: integer,
  ex: natural,
  bast: boolean,
  lvbSeq: natural,
};
const lock = shape({ ...queued, slot: natural, sb: natural, hi: integer });
const resource = shape({ name: text(64), lvb, lvbSeq: natural, lvbInvalid: boolean, locks: list(MOST.locks, lock) });
const mailbox = shape({
  slot: natural,
  lastRid: natural,
  sent: natural,
  acked: natural,
  events: list(MOST.events, isLockEvent),
  ring: list(1024, list(3, integer)),
});
const held = shape({ ...queued, name: text(64), order: natural, lvb });
const conflict = shape({ name: text(64), locks: list(MOST.locks, shape({ slot: natural, mode: integer })) });

/** Everything but what every reply has. */
const isRest = shape({
  lsid: optional(id),
  state: optional(oneOf("run", "recover")),
  members: optional(list(MOST.members, record)),
  leaseMs: optional(natural),
  fencing: optional(text(256)),
  conflicts: optional(list(MOST.resources, conflict)),
  mayHaveForgotten: optional(boolean),
  server: optional(text(64)),
  resources: optional(list(MOST.resources, resource)),
  mailboxes: optional(list(MOST.members, mailbox)),
  counters: optional(list(MOST.members, list(2, natural))),
  reports: optional(list(MOST.members, shape({ slot: natural, locks: list(MOST.locks, held) }))),
});

/** `head` with the other parts of the reply, or null if they are none: a server that talks nonsense must not be believed. */
export const parseReplyRest = (rest: Readonly<Record<string, unknown>>, head: WireReply): WireReply | null =>
  isRest(rest) ? { ...(rest as Partial<WireReply>), ...head } : null;
