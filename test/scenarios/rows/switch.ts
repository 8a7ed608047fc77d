import { bitmap, nosync, pending, recoveryRemote, resync, spares, state } from "../expectations.ts";
import { assemble, close, create, fail, manage, part, type Scenario, shows, stop, until, waitSync } from "../steps.ts";
import type { Level } from "./levels.ts";
import { FAILED } from "./open.ts";

const all = ["n1", "n2"] as const;

export const switchRecoveryRow = ({ tag, shape, shown }: Level): Scenario => ({
  name: `03${tag}_switch-recovery`,
  parts: [
    part(
      "the node leaves in the middle: the other one fills the spare",
      [
        create("n1", ["d0", "d1"], { ...shape, spares: ["d2"], assumeClean: true }),
        assemble("n2", ["d0", "d1", "d2"]),
        until(all, nosync),
        shows(all, shown, bitmap, spares(1), state("UU")),
        manage("n1", fail("d0")),
        until(["n1"], recoveryRemote),
        stop("n1"),
        until(["n2"], recoveryRemote),
        waitSync("n2"),
        shows(["n2"], nosync, state("UU")),
        close("n2"),
      ],
      FAILED,
    ),
  ],
});

export const switchResyncRow = ({ tag, shape, shown }: Level): Scenario => ({
  name: `03${tag}_switch-resync`,
  parts: [
    part("the node leaves in the middle: the other one goes on, and the first comes back", [
      create("n1", ["d0", "d1"], shape),
      assemble("n2", ["d0", "d1"]),
      until(["n1"], resync),
      until(["n2"], pending),
      stop("n1"),
      until(["n2"], resync),
      waitSync("n2"),
      shows(["n2"], nosync, state("UU")),
      assemble("n1", ["d0", "d1"]),
      until(all, nosync),
      shows(all, shown, bitmap, state("UU")),
      close(...all),
    ]),
  ],
});
