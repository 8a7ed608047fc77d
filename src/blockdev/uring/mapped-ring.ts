import { closeSync } from "node:fs";
import { assert } from "../../base/assert.ts";
import { Errno } from "../errno.ts";
import { errnoName } from "../errno-name.ts";
import type { Libc } from "./libc.ts";
import {
  CQE_BYTES,
  Feature,
  MapFlag,
  OFF_RINGS,
  OFF_SQES,
  PARAMS_BYTES,
  Prot,
  SetupFlag,
  SQE_BYTES,
  WIDE_SQE_BYTES,
} from "./uapi.ts";

/**
 * A ring of the kernel's and its two mappings. Positions are indices into the typed arrays, taken from the kernel's
 * answer: they differ between versions. Heads and tails are 32-bit counters that wrap.
 */
export interface MappedRing {
  readonly fd: number;
  readonly setupFlags: number;
  /** A wait for several completions may have a limit after which one is enough (6.12). */
  readonly waitsForSeveral: boolean;
  readonly sqEntries: number;
  readonly cqEntries: number;
  /** Both rings: what the kernel writes is read with Atomics. */
  readonly words: Int32Array;
  /** The submission entries, 16 words each (32 of a wide ring); all zero at birth. */
  readonly sqes: Uint32Array;
  readonly sqHead: number;
  readonly sqTail: number;
  readonly sqFlags: number;
  readonly cqHead: number;
  readonly cqTail: number;
  /** The first completion entry, 4 words each: user_data (2), result, flags. */
  readonly cqes: number;
  /** Nothing of the ring may be touched afterwards. */
  close(): void;
}

const { CQSIZE, CLAMP, SUBMIT_ALL, COOP_TASKRUN, TASKRUN_FLAG, SINGLE_ISSUER, DEFER_TASKRUN } = SetupFlag;

/** From best to plain: 6.1 knows the first, 5.19 the second, 5.6 the last. */
const flagSets: readonly number[] = [
  SINGLE_ISSUER | DEFER_TASKRUN | TASKRUN_FLAG | SUBMIT_ALL | CQSIZE | CLAMP,
  COOP_TASKRUN | TASKRUN_FLAG | SUBMIT_ALL | CQSIZE | CLAMP,
  CQSIZE | CLAMP,
];

/** Waiting with a timeout (5.11) and sockets without io-wq threads (5.7); what is older gets threads. */
const NEEDED_FEATURES = Feature.SINGLE_MMAP | Feature.NODROP | Feature.FAST_POLL | Feature.EXT_ARG;

/**
 * A ring with four times as many completion as submission entries; or, in words for people, why there is none. `wide`: its
 * submissions have room for a driver's command (5.19).
 */
export function mapRing(libc: Libc, entries: number, wide = false): MappedRing | string {
  const params = new DataView(new ArrayBuffer(PARAMS_BYTES));
  let fd: number = -Errno.EINVAL;
  const width = wide ? SetupFlag.SQE128 : 0;
  for (const flags of flagSets) {
    new Uint8Array(params.buffer).fill(0);
    params.setUint32(8, flags | width, true);
    params.setUint32(4, entries * 4, true);
    fd = libc.ioUringSetup(entries, new Uint8Array(params.buffer));
    if (fd !== -Errno.EINVAL) break;
  }
  if (fd < 0) return `io_uring_setup: ${errnoName(-fd)}`;

  if ((params.getUint32(20, true) & NEEDED_FEATURES) !== NEEDED_FEATURES) {
    closeSync(fd);
    return "io_uring of this kernel is too old (5.11 is needed)";
  }
  return map(libc, fd, params);
}

function map(libc: Libc, fd: number, params: DataView): MappedRing | string {
  const answer = (offset: number): number => params.getUint32(offset, true);
  const sqEntries = answer(0);
  const cqEntries = answer(4);
  const array = answer(64);
  const cqes = answer(100);
  const ringBytes = Math.max(array + sqEntries * 4, cqes + cqEntries * CQE_BYTES);
  const wide = (answer(8) & SetupFlag.SQE128) !== 0;
  const sqeBytes = sqEntries * (wide ? WIDE_SQE_BYTES : SQE_BYTES);

  const flags = MapFlag.SHARED | MapFlag.POPULATE;
  const rings = libc.mmap(ringBytes, Prot.READ_WRITE, flags, fd, OFF_RINGS);
  const sqeAt = rings < 0 ? rings : libc.mmap(sqeBytes, Prot.READ_WRITE, flags, fd, OFF_SQES);
  if (sqeAt < 0) {
    if (rings >= 0) libc.munmap(rings, ringBytes);
    closeSync(fd);
    return `mapping the ring: ${errnoName(-sqeAt)}`;
  }

  const words = new Int32Array(libc.view(rings, ringBytes & ~3));
  assert(words[answer(88) / 4] === cqEntries - 1, "the ring's mask is not where the kernel said");
  // Entry i of the indirection is SQE i, for ever.
  for (let i = 0; i < sqEntries; i++) words[array / 4 + i] = i;
  return {
    fd,
    setupFlags: answer(8),
    waitsForSeveral: (answer(20) & Feature.MIN_TIMEOUT) !== 0,
    sqEntries,
    cqEntries,
    words,
    sqes: new Uint32Array(libc.view(sqeAt, sqeBytes)),
    sqHead: answer(40) / 4,
    sqTail: answer(44) / 4,
    sqFlags: answer(56) / 4,
    cqHead: answer(80) / 4,
    cqTail: answer(84) / 4,
    cqes: cqes / 4,
    close() {
      closeSync(fd);
      // Each mapping holds the ring open: closing the descriptor alone would leak it.
      libc.munmap(rings, ringBytes);
      libc.munmap(sqeAt, sqeBytes);
    },
  };
}
