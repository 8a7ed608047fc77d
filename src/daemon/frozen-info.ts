import { leaseState } from "../dlm/lease.ts";
import type { Frozen } from "../dlm/lockspace.ts";
import type { LockspaceStatus } from "../dlm/lockspace-status.ts";
import type { FrozenInfo } from "./control-api.ts";

/** One lockspace of this node; `array` is null for the daemons' own. */
export interface LockspaceView {
  readonly array: string | null;
  readonly status: LockspaceStatus;
  readonly frozen: Frozen | null;
  /** Requests that wait for the lease. */
  readonly waiting: number;
}

/** The lock service as this node sees it. Times are `Clock.now`. */
export interface LockServiceView {
  readonly now: number;
  readonly node: string;
  readonly address: string;
  /** Since when it does not answer. */
  readonly lostAt: number | null;
  readonly spaces: readonly LockspaceView[];
  /** A dead node is fenced by more than the end of its lease. */
  readonly hasFencer: boolean;
}

/** Null while lock operations are carried out as usual. */
export function frozenInfo(view: LockServiceView): FrozenInfo | null {
  const { now, lostAt, spaces, address } = view;
  const rebuilt = spaces.filter(({ frozen }) => frozen !== null);
  const late = spaces.filter(({ status }) => leaseState(status, status.renewedAt, now) === "lost");
  if (lostAt === null && rebuilt.length === 0 && late.length === 0) return null;

  const arrays = spaces.filter(({ array }) => array !== null);
  const writeUntil = Math.min(...arrays.map(({ status }) => status.writeUntil));
  const since = Math.min(
    lostAt ?? now,
    ...rebuilt.map(({ frozen }) => frozen?.since ?? now),
    ...(lostAt === null && rebuilt.length === 0 ? late.map(({ status }) => status.renewedAt) : []),
  );
  const writesWait = arrays.length > 0 && now >= writeUntil;
  const what = lostAt === null && rebuilt.length > 0 ? "lost its state" : "lost";
  const consequence =
    arrays.length === 0
      ? "commands that need it wait"
      : writesWait
        ? "writes to clustered arrays wait"
        : `writes to clustered arrays wait in ${seconds(writeUntil - now)}`;
  return {
    sinceSeconds: tenths(now - since),
    text: `lock service ${address} ${what} ${seconds(now - since)} ago; ${consequence}`,
    ...nextOf(view, rebuilt, writesWait),
    writesWait,
    waiting: spaces.reduce((sum, { waiting }) => sum + waiting, 0),
  };
}

type Next = Pick<FrozenInfo, "progress" | "reported" | "missing" | "resumes" | "command" | "limitSeconds">;

function nextOf(view: LockServiceView, rebuilt: readonly LockspaceView[], writesWait: boolean): Next {
  const subject = writesWait ? "IO resumes" : "locks are granted again";
  const worst = worstOf(rebuilt);
  if (worst === null || (worst.frozen.reported.length === 0 && worst.frozen.missing.length === 0)) {
    const resumes = `${subject} when it answers${deathText(view)}`;
    return { progress: null, reported: [], missing: [], resumes, command: null, limitSeconds: null };
  }
  const { array, frozen } = worst;
  const { reported, missing, deadline, conflicts } = frozen;
  const progress = `re-mastering: ${reported.length} of ${reported.length + missing.length} nodes reported`;
  const none = { progress, reported, missing, command: null, limitSeconds: null };
  const [conflict] = conflicts;
  if (conflict !== undefined) {
    const holders = conflict.locks.map(({ node, mode }) => `${node} (${mode})`).join(" and ");
    const other = conflict.locks.find(({ node }) => node !== view.node)?.node ?? view.node;
    const what = `${array === null ? "" : `${array}: `}${conflict.resource} is held by ${holders}, which cannot be`;
    const resumes = `${what}; ${subject} when one of them is evicted`;
    return { ...none, resumes, command: `mdctl node evict ${other} --confirm-dead` };
  }
  if (missing.length === 0) return { ...none, resumes: `${subject} at once`, limitSeconds: 0 };
  const when = `${subject} when ${list(missing)} ${missing.length === 1 ? "reports or is evicted" : "report or are evicted"}`;
  if (deadline === null) return { ...none, resumes: when };
  const limit = Math.max(0, deadline - view.now);
  if (view.hasFencer) return { ...none, resumes: `${when}; fencing begins in ${seconds(limit)}` };
  return { ...none, resumes: `${when}, at the latest in ${seconds(limit)}`, limitSeconds: tenths(limit) };
}

/** A conflict first: it does not end by itself. Then what takes longest. */
function worstOf(rebuilt: readonly LockspaceView[]): { array: string | null; frozen: Frozen } | null {
  const rank = ({ conflicts, deadline }: Frozen): number =>
    conflicts.length > 0 ? Number.POSITIVE_INFINITY : (deadline ?? 0);
  const views = rebuilt.flatMap(({ array, frozen }) => (frozen === null ? [] : [{ array, frozen }]));
  return views.sort((a, b) => rank(b.frozen) - rank(a.frozen))[0] ?? null;
}

/** Others may still reach the lock service: then they take over from us when our lease has ended. */
function deathText({ now, spaces }: LockServiceView): string {
  const arrays = spaces.filter(({ array }) => array !== null);
  if (arrays.length === 0) return "";
  const left = Math.min(...arrays.map(({ status }) => status.renewedAt + status.leaseMs)) - now;
  return left > 0
    ? `; nodes that still reach it take over from this one in ${seconds(left)}`
    : "; nodes that still reach it may have taken over from this one";
}

/** What happens next, in one sentence. */
export const nextText = ({ progress, resumes }: FrozenInfo): string =>
  progress === null ? resumes : `${progress}; ${resumes}`;

const tenths = (ms: number): number => Math.round(Math.max(0, ms) / 100) / 10;
const seconds = (ms: number): string => (ms >= 9950 ? `${Math.round(ms / 1000)} s` : `${tenths(ms).toFixed(1)} s`);
const list = (names: readonly string[]): string =>
  names.length < 2 ? names.join("") : `${names.slice(0, -1).join(", ")} and ${names.at(-1)}`;
