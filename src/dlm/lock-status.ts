/** Reply codes of calls and status of completions; the values of Linux where there is one. */
export const lockStatus = {
  OK: 0,
  /** Unknown lock id. */
  ENOENT: -2,
  /** NOQUEUE and not grantable. */
  EAGAIN: -11,
  /**
   * The lock is queued; join: the node name is taken by a member that is not known dead, or somebody is being fenced;
   * fence_begin: by somebody else.
   */
  EBUSY: -16,
  /** format: there is one. */
  EEXIST: -17,
  EINVAL: -22,
  /** No free slot. */
  ERANGE: -34,
  EDEADLK: -35,
  /** Version, lease, slots, value block size or fencing differ from the other members'. */
  EPROTO: -71,
  ECANCEL: -65537,
  EUNLOCK: -65538,
  /** There is no such lockspace (any more). */
  ENOLS: -1001,
  /** The lockspace belongs to another life of the server. */
  EIDENT: -1002,
  EEPOCH: -1003,
  /** The server's state is older than what the caller has seen, or part of it is missing. */
  ELOST: -1004,
  /** Not a member (any more). */
  EFENCED: -1005,
  /** The members are reporting their locks: call again when the lockspace runs. */
  ERECOVER: -1006,
  /** A call before this one is missing. */
  EGAP: -1007,
  /** The answer to this repeated call is not kept any more. */
  ESTALE: -1008,
  /** evict, fence_begin: it has renewed meanwhile. */
  EALIVE: -1009,
  /** recover: two members hold what cannot be held together. */
  ECONFLICT: -1010,
} as const;

const names = new Map<number, string>(Object.entries(lockStatus).map(([name, code]) => [code, name]));

export const lockStatusName = (code: number): string => names.get(code) ?? `code ${code}`;
