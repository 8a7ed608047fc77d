import { type LockMode, modesCompatible } from "../../dlm/lock-mode.ts";

/** What one daemon process has told of its locks, and when it was killed (CLOCK_MONOTONIC, ms), if it was. */
export interface LifeTrace {
  readonly life: string;
  readonly records: readonly HoldRecord[];
  readonly killedAt: number | null;
}

/** A mode that a node could act under: from its grant until it was given up, as far as its lease reached. */
export interface Hold {
  readonly life: string;
  /** lockspace/resource */
  readonly lock: string;
  readonly lkid: number;
  readonly mode: LockMode;
  readonly from: number;
  readonly to: number;
}

interface Span {
  readonly from: number;
  readonly to: number;
}

/** `lock.held` or `lease.until`, of dlm/hold-trace.ts. */
export interface HoldRecord {
  readonly evt: string;
  readonly lockspace: string;
  readonly lock: string;
  readonly lkid: number;
  readonly mode: LockMode;
  readonly at: number;
  readonly until: number;
}

/**
 * Every hold of every life, out of the daemons' traces. The lock server is not asked: it is what may be wrong. A node
 * that was stopped or cut off goes on believing in its locks; what counts is until when it would have acted.
 */
export function holdsOf(lives: readonly LifeTrace[]): readonly Hold[] {
  return lives.flatMap(({ life, records, killedAt }) => {
    const end = killedAt ?? Number.POSITIVE_INFINITY;
    return beliefs(life, records).flatMap(({ lockspace, ...hold }) =>
      leases(records, lockspace).flatMap((lease) => {
        const from = Math.max(hold.from, lease.from);
        const to = Math.min(hold.to, lease.to, end);
        return from < to ? [{ ...hold, from, to }] : [];
      }),
    );
  });
}

/** What the node believed, whether its lease lasted or not. The end of a membership (a lease until 0) ends its holds. */
function beliefs(life: string, trace: readonly HoldRecord[]): readonly (Hold & { readonly lockspace: string })[] {
  const open = new Map<string, Hold & { readonly lockspace: string }>();
  const closed: (Hold & { readonly lockspace: string })[] = [];
  const close = (key: string, to: number): void => {
    const hold = open.get(key);
    if (hold !== undefined) closed.push({ ...hold, to });
    open.delete(key);
  };
  for (const { evt, lockspace, lock, lkid, mode, at, until } of trace) {
    if (evt === "lock.held") {
      const key = `${lockspace}/${lock}/${lkid}`;
      close(key, at);
      if (mode === "NL") continue;
      open.set(key, {
        life,
        lockspace,
        lock: `${lockspace}/${lock}`,
        lkid,
        mode,
        from: at,
        to: Number.POSITIVE_INFINITY,
      });
    } else if (until === 0) {
      for (const [key, hold] of open) if (hold.lockspace === lockspace) close(key, at);
    }
  }
  return [...closed, ...open.values()];
}

/** When the node had a lease of this lockspace: one span as long as renewals came in time. */
function leases(trace: readonly HoldRecord[], lockspace: string): readonly Span[] {
  const spans: { readonly from: number; to: number }[] = [];
  for (const { evt, lockspace: of, at, until } of trace) {
    if (evt !== "lease.until" || of !== lockspace) continue;
    const last = spans.at(-1);
    const lasts = last !== undefined && last.to >= at;
    if (until === 0) {
      if (lasts) last.to = at;
    } else if (lasts) last.to = until;
    else if (until > at) spans.push({ from: at, to: until });
  }
  return spans;
}

/** Pairs of holds that exclude each other and overlap in time: each is a double grant, or a lease that was overrun. */
export function conflictsAmong(holds: readonly Hold[]): readonly (readonly [Hold, Hold])[] {
  const conflicts: (readonly [Hold, Hold])[] = [];
  const byLock = new Map<string, Hold[]>();
  for (const hold of holds) byLock.set(hold.lock, [...(byLock.get(hold.lock) ?? []), hold]);
  for (const list of byLock.values()) {
    list.sort((a, b) => a.from - b.from);
    let open: Hold[] = [];
    for (const hold of list) {
      open = open.filter(({ to }) => to > hold.from);
      for (const other of open) {
        const same = other.life === hold.life && other.lkid === hold.lkid;
        if (!same && !modesCompatible(other.mode, hold.mode)) conflicts.push([other, hold]);
      }
      open.push(hold);
    }
  }
  return conflicts;
}
