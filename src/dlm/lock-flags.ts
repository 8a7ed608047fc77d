/** Flags of lock, convert and unlock, with the values of Linux (include/uapi/linux/dlmconstants.h). */
export const lockFlag = {
  /** Fail with EAGAIN instead of queueing. */
  NOQUEUE: 0x1,
  /** Unlock only: cancel what is queued. */
  CANCEL: 0x2,
  CONVERT: 0x4,
  /** Take part in value block transfer. */
  VALBLK: 0x8,
  /** Conversion: queue behind other conversions even if it could be granted. */
  QUECVT: 0x10,
  /** Make the value block invalid; from PW and EX only. */
  IVVALBLK: 0x20,
  /** Conversion: solve a deadlock by giving up the own granted mode. */
  CONVDEADLK: 0x40,
  /** Conversion: queue in spite of a deadlock. */
  NODLCKWT: 0x100,
  /** New NL request: grant it past all queues. */
  EXPEDITE: 0x400,
  /** With NOQUEUE: send blocking notifications when it fails. */
  NOQUEUEBAST: 0x800,
  HEADQUE: 0x1000,
  /** May be granted out of order. */
  NOORDER: 0x2000,
  /** Try PR (CW) if the asked mode cannot be granted. */
  ALTPR: 0x8000,
  ALTCW: 0x10000,
  /** Unlock: remove from whatever queue the lock is on. */
  FORCEUNLOCK: 0x20000,
} as const;

/** Status flags of a completion. */
export const statusFlag = {
  /** The lock went through NL to solve a deadlock: what was cached under the old mode is stale. */
  DEMOTED: 0x1,
  VALNOTVALID: 0x2,
  ALTMODE: 0x4,
} as const;
