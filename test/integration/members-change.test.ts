import { it } from "vitest";
import { changeUnderFio } from "../support/change-under-fio.ts";

const MIB = 1024 * 1024;

/** The other levels and more rounds: `members-change.cluster.ts`. */
it("RAID10 n2 of four: members fail, are removed, come back and are replaced under fio, which finds no fault", {
  timeout: 240_000,
}, async () => {
  const shape = { options: ["--level=10", "--layout=n2", "--chunk=64K"], members: 4, memberBytes: 10 * MIB };
  await changeUnderFio({ ...shape, together: [3] }, 1);
});
