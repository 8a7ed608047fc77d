import { describe, expect, it } from "vitest";
import { lockFlag, statusFlag } from "../../src/dlm/lock-flags.ts";
import { lockModes } from "../../src/dlm/lock-mode.ts";
import { lockStatus } from "../../src/dlm/lock-status.ts";
import { lockVectors } from "../support/lock-vectors.ts";

describe("the numbers of Linux", () => {
  it("are those of the modes, flags and codes", () => {
    expect(lockModes).toEqual(["NL", "CR", "CW", "PR", "PW", "EX"]);
    expect(lockFlag).toEqual({
      NOQUEUE: 0x1,
      CANCEL: 0x2,
      CONVERT: 0x4,
      VALBLK: 0x8,
      QUECVT: 0x10,
      IVVALBLK: 0x20,
      CONVDEADLK: 0x40,
      NODLCKWT: 0x100,
      EXPEDITE: 0x400,
      NOQUEUEBAST: 0x800,
      HEADQUE: 0x1000,
      NOORDER: 0x2000,
      ALTPR: 0x8000,
      ALTCW: 0x10000,
      FORCEUNLOCK: 0x20000,
    });
    expect(statusFlag).toEqual({ DEMOTED: 1, VALNOTVALID: 2, ALTMODE: 4 });
    expect(lockStatus).toMatchObject({
      OK: 0,
      ENOENT: -2,
      EAGAIN: -11,
      EBUSY: -16,
      EEXIST: -17,
      EINVAL: -22,
      ERANGE: -34,
      EDEADLK: -35,
      EPROTO: -71,
      ECANCEL: -0x10001,
      EUNLOCK: -0x10002,
    });
  });

  it("come with all the vectors", () => {
    expect(new Set(lockVectors.map(([id]) => id)).size).toBe(71);
  });
});
