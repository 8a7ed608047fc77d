import { bitmap, copied, named, nosync, pending, raid1, resync, spares, state } from "../expectations.ts";
import { assemble, close, create, part, type Scenario, shows, until, waitSync } from "../steps.ts";

const all = ["n1", "n2"] as const;

export const create00r1: Scenario = {
  name: "00r1_Create",
  parts: [
    part("the members differ: one node makes them equal, the other one waits", [
      create("n1", ["d0", "d1"]),
      assemble("n2", ["d0", "d1"]),
      until(["n1"], resync),
      until(["n2"], pending),
      waitSync(...all),
      shows(all, raid1, bitmap, nosync, state("UU")),
      // Not a second time.
      shows(["n2"], copied(0)),
      close(...all),
    ]),
    part("the members are equal, as the operator says", [
      create("n1", ["d0", "d1"], { assumeClean: true }),
      assemble("n2", ["d0", "d1"]),
      until(all, nosync),
      shows(all, raid1, bitmap, state("UU"), copied(0)),
      close(...all),
    ]),
    part("with a spare", [
      create("n1", ["d0", "d1"], { spares: ["d2"], assumeClean: true }),
      assemble("n2", ["d0", "d1", "d2"]),
      until(all, nosync),
      shows(all, raid1, bitmap, spares(1), state("UU"), copied(0)),
      close(...all),
    ]),
    part("with a name", [
      create("n1", ["d0", "d1"], { assumeClean: true, name: "tstmd" }),
      assemble("n2", ["d0", "d1"]),
      until(all, nosync),
      shows(all, raid1, bitmap, state("UU"), named("tstmd"), copied(0)),
      close(...all),
    ]),
  ],
};
