import { bitmap, copied, named, nosync, pending, resync, spares, state } from "../expectations.ts";
import { assemble, close, create, part, type Scenario, shows, until, waitSync } from "../steps.ts";
import type { Level } from "./levels.ts";

const all = ["n1", "n2"] as const;

export const createRow = ({ tag, shape, shown, equal }: Level): Scenario => ({
  name: `00${tag}_Create`,
  parts: [
    part("the members differ: one node makes them equal, the other one waits", [
      create("n1", ["d0", "d1"], shape),
      assemble("n2", ["d0", "d1"]),
      until(["n1"], resync),
      until(["n2"], pending),
      waitSync(...all),
      shows(all, shown, bitmap, nosync, state("UU")),
      // Not a second time.
      shows(["n2"], copied(0)),
      close(...all),
    ]),
    part("the members are equal, as the operator says", [
      create("n1", equal.disks, { ...shape, near: equal.near, assumeClean: true }),
      assemble("n2", equal.disks),
      until(all, nosync),
      shows(all, shown, bitmap, equal.state, copied(0)),
      close(...all),
    ]),
    part("with a spare", [
      create("n1", ["d0", "d1"], { ...shape, spares: ["d2"], assumeClean: true }),
      assemble("n2", ["d0", "d1", "d2"]),
      until(all, nosync),
      shows(all, shown, bitmap, spares(1), state("UU"), copied(0)),
      close(...all),
    ]),
    part("with a name", [
      create("n1", ["d0", "d1"], { ...shape, assumeClean: true, name: "tstmd" }),
      assemble("n2", ["d0", "d1"]),
      until(all, nosync),
      shows(all, shown, bitmap, state("UU"), named("tstmd"), copied(0)),
      close(...all),
    ]),
  ],
});
