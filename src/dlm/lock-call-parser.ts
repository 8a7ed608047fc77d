import {
  boolean,
  type Check,
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
import { BATCH_LIMIT, type LockCall, type LockspaceId } from "./lock-call.ts";

const flags: Check = (value) => natural(value) && (value as number) < 2 ** 31;
const sighting = shape({ slot: natural, incarnation: id, counter: natural });
const header: Checks = { slot: natural, incarnation: id, epoch: natural, rid: natural, ack: natural, seen: natural };
const lvb = optional(text(1024));
/** Longer than a name may be: a name that is too long is an answer (EINVAL), not the end of the connection. */
const name = text(256);
const node: Check = (value) => text(64)(value) && value !== "";
const process = optional(shape({ host: text(256), pid: natural, started: text(64) }));
const settings: Checks = {
  slots: (value) => natural(value) && (value as number) >= 1 && (value as number) <= 64,
  leaseMs: (value) => natural(value) && (value as number) >= 1,
  lvbSize: (value) => natural(value) && (value as number) <= 256,
  fencing: text(256),
};
const step: Checks = { name, lkid: natural, mode: integer, flags, lvb };
const heldLock = shape({
  lkid: natural,
  name,
  queue: oneOf("g", "c", "w"),
  gr: integer,
  rq: integer,
  ex: flags,
  bast: boolean,
  order: natural,
  lvb,
  lvbSeq: natural,
});
const memberRecord = shape({
  slot: natural,
  incarnation: id,
  counter: natural,
  node,
  process,
  state: oneOf("active", "fencing", "absent"),
  fence: optional(shape({ token: natural, owner: id, tries: natural })),
});
/** A member holds at most so many locks in one lockspace. */
const MOST_LOCKS = 10_000;

const operations: Readonly<Record<LockCall["op"], Check>> = {
  hello: shape({}),
  dump: shape({}),
  format: shape({ lsid: id, epoch: natural, replaces: optional(id) }),
  join: shape({
    limit: optional(settings["slots"] as Check),
    node,
    incarnation: id,
    ...settings,
    process,
    gone: list(64, sighting),
  }),
  recover: shape({
    slot: natural,
    incarnation: id,
    node,
    process,
    lsid: id,
    epoch: natural,
    seen: natural,
    lkid: natural,
    server: optional(text(64)),
    settings: shape(settings),
    generation: natural,
    members: list(64, memberRecord),
    lastRid: natural,
    counter: natural,
    locks: list(MOST_LOCKS, heldLock),
  }),
  renew: shape({ ...header, counter: natural, generation: optional(natural) }),
  poll: shape(header),
  leave: shape(header),
  evict: shape({ ...header, victim: sighting, evidence: oneOf("lease", "process", "operator") }),
  fence_begin: shape({ ...header, victim: sighting, takesOver: optional(natural) }),
  fence_result: shape({
    ...header,
    victim: shape({ slot: natural, incarnation: id }),
    token: natural,
    ok: boolean,
    evidence: text(256),
  }),
  lock: shape({ ...header, name, mode: integer, flags, bast: boolean, lvb }),
  convert: shape({ ...header, ...step }),
  batch: shape({ ...header, steps: list(BATCH_LIMIT, shape(step)) }),
  unlock: shape({ ...header, name, lkid: natural, flags, lvb }),
};

const isOperation = (op: unknown): op is LockCall["op"] => typeof op === "string" && Object.hasOwn(operations, op);

/** A call from outside, or null if it is none. What it asks for may still be refused. */
export function parseLockCall(value: unknown): LockCall | null {
  if (!isObject(value) || !isOperation(value["op"])) return null;
  return operations[value["op"]](value) ? (value as unknown as LockCall) : null;
}

export function parseLockspaceId(value: unknown): LockspaceId | null {
  return shape({ cluster: id, name: id })(value) ? (value as LockspaceId) : null;
}
