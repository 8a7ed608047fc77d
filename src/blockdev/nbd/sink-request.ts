import { Errno } from "../errno.ts";
import { REQUEST_FUA, REQUEST_NO_HOLE, RequestOp } from "../front-end.ts";
import { Command, CommandFlag, NbdErrno } from "./protocol.ts";

const opOf: Record<number, RequestOp> = {
  [Command.READ]: RequestOp.read,
  [Command.WRITE]: RequestOp.write,
  [Command.FLUSH]: RequestOp.flush,
  [Command.TRIM]: RequestOp.discard,
  [Command.WRITE_ZEROES]: RequestOp.zero,
};
const ops = Uint8Array.from({ length: 8 }, (_, command) => opOf[command] ?? 0);

/** What a good command asks of the array. */
export const sinkOp = (command: number): RequestOp => (ops[command] ?? RequestOp.read) as RequestOp;

/** Does a good command change the array? */
export const isWrite = (command: number): boolean =>
  command === Command.WRITE || command === Command.TRIM || command === Command.WRITE_ZEROES;

/** Of a command's flags, what concerns the array. */
export const sinkFlags = (flags: number): number =>
  ((flags & CommandFlag.FUA) !== 0 ? REQUEST_FUA : 0) | ((flags & CommandFlag.NO_HOLE) !== 0 ? REQUEST_NO_HOLE : 0);

const EROFS = 30;
const ESHUTDOWN = 108;

/** The array's errno (0: none) as one of those that the protocol knows. */
export function wireErrno(errno: number): number {
  switch (errno) {
    case 0:
      return 0;
    case Errno.EPERM:
    case EROFS:
      return NbdErrno.EPERM;
    case Errno.EINVAL:
      return NbdErrno.EINVAL;
    case Errno.ENOSPC:
      return NbdErrno.ENOSPC;
    case ESHUTDOWN:
      return NbdErrno.ESHUTDOWN;
    default:
      return NbdErrno.EIO;
  }
}
