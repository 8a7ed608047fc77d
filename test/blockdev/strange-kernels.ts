import type { Libc } from "../../src/blockdev/uring/libc.ts";
import { RegisterOp, SetupFlag } from "../../src/blockdev/uring/uapi.ts";

const EINTR = -4;
const EAGAIN = -11;
const ENOMEM = -12;
const EBUSY = -16;
const EINVAL = -22;

const setupFlags = (params: Uint8Array): number => new DataView(params.buffer, params.byteOffset).getUint32(8, true);

/** The real kernel, behaving as others do. All of them must be good enough for a ring. */
export function strangeKernels(libc: Libc): { readonly name: string; readonly libc: Libc }[] {
  const { DEFER_TASKRUN, COOP_TASKRUN } = SetupFlag;
  const refusing =
    (flags: number): Libc["ioUringSetup"] =>
    (entries, params) =>
      (setupFlags(params) & flags) !== 0 ? EINVAL : libc.ioUringSetup(entries, params);

  let calls = 0;
  return [
    { name: "deferred task work is unknown", libc: { ...libc, ioUringSetup: refusing(DEFER_TASKRUN) } },
    { name: "no setup flag is known", libc: { ...libc, ioUringSetup: refusing(DEFER_TASKRUN | COOP_TASKRUN) } },
    { name: "nothing can be registered", libc: { ...libc, ioUringRegister: () => ENOMEM } },
    {
      name: "buffers may not be locked",
      libc: {
        ...libc,
        ioUringRegister: (fd, opcode, argument, count) =>
          opcode === RegisterOp.BUFFERS ? ENOMEM : libc.ioUringRegister(fd, opcode, argument, count),
      },
    },
    {
      name: "enter is interrupted, busy or out of memory two times in three",
      libc: {
        ...libc,
        ioUringEnter(...values) {
          calls++;
          return calls % 3 === 0 ? libc.ioUringEnter(...values) : ([EINTR, EAGAIN, EBUSY][(calls >> 2) % 3] ?? EINTR);
        },
      },
    },
    {
      name: "enter takes one submission at a time",
      libc: {
        ...libc,
        ioUringEnter: (fd, submit, minComplete, flags, argument, size) =>
          libc.ioUringEnter(fd, Math.min(submit, 1), submit > 1 ? 0 : minComplete, flags, argument, size),
      },
    },
  ];
}
