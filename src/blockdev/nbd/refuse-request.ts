import type { ExportDescription } from "./export-description.ts";
import { Command, CommandFlag, NbdErrno, TransmissionFlag } from "./protocol.ts";

const { FUA, NO_HOLE, DF } = CommandFlag;

/** By command; -1: there is none. FUA makes sense with few, but may be set on all once it is advertised. */
const allowedFlags = Int8Array.of(FUA | DF, FUA, -1, FUA, FUA, -1, FUA | NO_HOLE);
/** Offsets from here on leave what a double holds, and every device. */
const HIGH_LIMIT = 0x20_0000;

/** Why a request is refused, as the errno for the wire; 0 when it is good. All arguments as they came. */
export function refuseRequest(
  exported: ExportDescription,
  structured: boolean,
  command: number,
  flags: number,
  offsetHigh: number,
  offsetLow: number,
  length: number,
): number {
  const allowed = allowedFlags[command] ?? -1;
  if (allowed < 0 || (flags & ~allowed) !== 0 || ((flags & DF) !== 0 && !structured)) return NbdErrno.EINVAL;
  if (command === Command.FLUSH) return (offsetHigh | offsetLow | length) === 0 ? 0 : NbdErrno.EINVAL;

  const writes = command !== Command.READ;
  if (writes && (exported.flags & TransmissionFlag.READ_ONLY) !== 0) return NbdErrno.EPERM;
  // The protocol leaves it open what that would mean.
  if (length === 0) return NbdErrno.EINVAL;
  if (offsetHigh >= HIGH_LIMIT || offsetHigh * 2 ** 32 + offsetLow + length > exported.size) {
    const grows = command === Command.WRITE || command === Command.WRITE_ZEROES;
    return grows ? NbdErrno.ENOSPC : NbdErrno.EINVAL;
  }
  if (((offsetLow | length) & (exported.minimumBlock - 1)) !== 0) return NbdErrno.EINVAL;
  const payload = command === Command.READ || command === Command.WRITE;
  return payload && length > exported.maximumPayload ? NbdErrno.EINVAL : 0;
}
