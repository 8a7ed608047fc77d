import type { ModeNumber } from "./lock-call.ts";

/** A lock on one of the three queues of its resource. */
export interface ResourceLock {
  readonly lkid: number;
  readonly slot: number;
  /** Granted mode, -1 while it waits for its first grant. */
  gr: ModeNumber;
  /** Requested mode, -1 when nothing is asked for. */
  rq: ModeNumber;
  /** Flags of the last operation. */
  ex: number;
  /** Status flags of the last operation. */
  sb: number;
  /** Highest mode announced to the holder since its last grant. */
  hi: ModeNumber;
  readonly bast: boolean;
  lvbSeq: number;
  /** `seq` of the event that granted it, or of the call that queued it: how people learn how long it stands so. */
  order: number;
}

/** A resource exists while there is a lock on it. Its value block is opaque text here. */
export interface LockResource {
  readonly name: string;
  granted: ResourceLock[];
  convert: ResourceLock[];
  wait: ResourceLock[];
  lvb: string | null;
  lvbSeq: number;
  lvbInvalid: boolean;
  /** Locks of a dead member were just removed: conversions are granted without order. */
  recovering: boolean;
}

export type Notice =
  | {
      readonly type: "cast";
      readonly lock: ResourceLock;
      readonly status: number;
      readonly mode: ModeNumber;
      readonly lvb: string | null;
    }
  | { readonly type: "bast"; readonly lock: ResourceLock; readonly mode: ModeNumber };

export type Emit = (notice: Notice) => void;

export const emptyResource = (name: string): LockResource => ({
  name,
  granted: [],
  convert: [],
  wait: [],
  lvb: null,
  lvbSeq: 0,
  lvbInvalid: false,
  recovering: false,
});

export const countLocks = (r: LockResource): number => r.granted.length + r.convert.length + r.wait.length;

export const isUnused = (r: LockResource): boolean => countLocks(r) === 0;

export function findLock(resource: LockResource, slot: number, lkid: number): ResourceLock | undefined {
  for (const queue of [resource.granted, resource.convert, resource.wait]) {
    const lock = queue.find((l) => l.lkid === lkid && l.slot === slot);
    if (lock !== undefined) return lock;
  }
  return undefined;
}
