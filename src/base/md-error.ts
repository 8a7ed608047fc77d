/** The stable error codes that people and scripts see (command line specification, section 3.3). */
export const mdErrorCodes = [
  "E_USAGE",
  "E_UNKNOWN_OPTION",
  "E_OPTION_TWICE",
  "E_VALUE",
  "E_NO_ARRAY",
  "E_ARRAY_REQUIRED",
  "E_ARRAY_AMBIGUOUS",
  "E_ARRAY_EXISTS",
  "E_ARRAY_ACTIVE",
  "E_ARRAY_NOT_ACTIVE",
  "E_NO_DEVICE",
  "E_NOT_BLOCKDEV",
  "E_DEVICE_BUSY",
  "E_DEVICE_IN_ARRAY",
  "E_DEVICE_HAS_DATA",
  "E_DEVICE_SMALL",
  "E_NO_SUPERBLOCK",
  "E_SUPERBLOCK_BAD",
  "E_MEMBER_NOT_FOUND",
  "E_MEMBER_ACTIVE",
  "E_LAST_COPY",
  "E_LEVEL_UNSUPPORTED",
  "E_LAYOUT_UNSUPPORTED",
  "E_METADATA_UNSUPPORTED",
  "E_CLUSTER_ONLY",
  "E_CLUSTER_CONFLICT",
  "E_NODES_FULL",
  "E_NODE_CANNOT_SEE_DEVICE",
  "E_NODE_UNREACHABLE",
  "E_NODE_ALIVE",
  "E_NO_QUORUM",
  "E_LOCK_SERVICE_LOST",
  "E_NOT_JOINED",
  "E_PROTOCOL_VERSION",
  "E_DIRTY_BITMAP",
  "E_SYNC_RUNNING",
  "E_SUSPENDED",
  "E_HELD",
  "E_CONFIRM",
  "E_PERMISSION",
  "E_DAEMON",
  "E_TIMEOUT",
  "E_CANCELLED",
  "E_PARTIAL",
  "E_IO",
  "E_CHECKSUM",
  "E_INTERNAL",
] as const;

export type MdErrorCode = (typeof mdErrorCodes)[number];

export interface MdErrorOptions extends ErrorOptions {
  /** The underlying cause, for the `why:` line. */
  readonly why?: string;
  /** A command that can be pasted, for the `try:` line. */
  readonly hint?: string;
  readonly details?: Readonly<Record<string, unknown>>;
}

/**
 * An expected failure: a disk, a peer, an operator. `message` is the first line that people read: what was wrong,
 * with the name of the thing. Callers switch on `code`, never on text.
 */
export class MdError extends Error {
  override readonly name = "MdError";
  readonly code: MdErrorCode;
  readonly why: string | null;
  readonly hint: string | null;
  readonly details: Readonly<Record<string, unknown>>;

  constructor(code: MdErrorCode, message: string, options: MdErrorOptions = {}) {
    super(message, options.cause === undefined ? {} : { cause: options.cause });
    this.code = code;
    this.why = options.why ?? null;
    this.hint = options.hint ?? null;
    this.details = options.details ?? {};
  }
}
