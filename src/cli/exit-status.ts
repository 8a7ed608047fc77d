import type { MdErrorCode } from "../base/md-error.ts";

/** The table of the command line specification, 3.1, as `--help-exit` prints it. */
export const exitTable: readonly (readonly [string, string])[] = [
  ["0", 'done, or the answer is "fine"'],
  ["1", "failed; with --test: array degraded"],
  ["2", "wrong usage; with detail --test: array failed; with manage --test: nothing was changed"],
  ["3", "refused: needs an answer, --run or --force; nothing was changed"],
  ["4", "no information: array, device or daemon not reachable"],
  ["5", "gave up waiting; the operation may still finish (its id is printed)"],
  ["6", "busy: another operation or a holder is in the way (named)"],
  ["7", "the cluster refused: no quorum, or the lock service is lost"],
  ["8", "partly done: some targets changed, some not (listed)"],
  ["130 / 143", "ended by SIGINT / SIGTERM"],
];

export const EXIT_PARTIAL = 8;
export const EXIT_BUG = 70;
export const EXIT_INTERRUPTED = 130;

const exitOf: Readonly<Record<MdErrorCode, number>> = {
  E_USAGE: 2,
  E_UNKNOWN_OPTION: 2,
  E_OPTION_TWICE: 2,
  E_VALUE: 2,
  E_NO_ARRAY: 4,
  E_ARRAY_REQUIRED: 2,
  E_ARRAY_AMBIGUOUS: 2,
  E_ARRAY_EXISTS: 1,
  E_ARRAY_ACTIVE: 6,
  E_ARRAY_NOT_ACTIVE: 4,
  E_NO_DEVICE: 4,
  E_NOT_BLOCKDEV: 1,
  E_DEVICE_BUSY: 6,
  E_DEVICE_IN_ARRAY: 3,
  E_DEVICE_HAS_DATA: 3,
  E_DEVICE_SMALL: 1,
  E_NO_SUPERBLOCK: 1,
  E_SUPERBLOCK_BAD: 1,
  E_MEMBER_NOT_FOUND: 4,
  E_MEMBER_ACTIVE: 6,
  E_LAST_COPY: 3,
  E_LEVEL_UNSUPPORTED: 2,
  E_LAYOUT_UNSUPPORTED: 2,
  E_METADATA_UNSUPPORTED: 2,
  E_CLUSTER_ONLY: 2,
  E_CLUSTER_CONFLICT: 7,
  E_NODES_FULL: 7,
  E_NODE_CANNOT_SEE_DEVICE: 7,
  E_NODE_UNREACHABLE: 7,
  E_NODE_ALIVE: 7,
  E_NO_QUORUM: 7,
  E_LOCK_SERVICE_LOST: 7,
  E_NOT_JOINED: 7,
  E_PROTOCOL_VERSION: 7,
  E_DIRTY_BITMAP: 6,
  E_SYNC_RUNNING: 6,
  E_SUSPENDED: 6,
  E_HELD: 6,
  E_CONFIRM: 3,
  E_PERMISSION: 1,
  E_DAEMON: 4,
  E_TIMEOUT: 5,
  E_CANCELLED: EXIT_INTERRUPTED,
  E_PARTIAL: EXIT_PARTIAL,
  E_IO: 1,
  E_CHECKSUM: 1,
  E_INTERNAL: EXIT_BUG,
};

export const exitStatus = (code: MdErrorCode): number => exitOf[code];
