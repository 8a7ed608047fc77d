import { describe, it } from "vitest";
import { changeUnderFio } from "../support/change-under-fio.ts";

const MIB = 1024 * 1024;
/** MDCTL_ROUNDS=20: for as long as one likes. */
const ROUNDS = Number(process.env["MDCTL_ROUNDS"] ?? 1);
const MEMBER_BYTES = 24 * MIB;

/** `together`: as many as the layout survives the loss of, where they are. */
const shapes = [
  ["RAID1 of three", ["--level=1"], 3, [0, 2]],
  ["RAID10 n2 of four", ["--level=10", "--layout=n2", "--chunk=64K"], 4, [0, 3]],
  ["RAID10 n2 of five", ["--level=10", "--layout=n2", "--chunk=4K"], 5, [0, 2]],
  ["RAID10 n3 of six", ["--level=10", "--layout=n3", "--chunk=512K"], 6, [0, 1, 3, 5]],
] as const;

describe.each(shapes)("%s under fio", (_, options, members, together) => {
  it(
    "loses nothing while members fail, are removed, come back and are replaced",
    {
      timeout: 120_000 + ROUNDS * 240_000,
    },
    () => changeUnderFio({ options, members, memberBytes: MEMBER_BYTES, together }, ROUNDS),
  );
});
