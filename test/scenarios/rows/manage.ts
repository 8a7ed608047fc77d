import { copied, copiedAtMost, nosync, recoveryRemote, spares, state } from "../expectations.ts";
import {
  add,
  addSpare,
  assemble,
  close,
  create,
  fail,
  manage,
  part,
  reAdd,
  remove,
  type Scenario,
  shows,
  until,
  waitSync,
  write,
} from "../steps.ts";
import type { Level } from "./levels.ts";
import { FAILED, open } from "./open.ts";

const all = ["n1", "n2"] as const;

export const manageAddRow = (level: Level): Scenario => ({
  name: `02${level.tag}_Manage_add`,
  parts: [
    part(
      "in place of a member that failed and was removed",
      [
        ...open(level, ...all),
        manage("n1", fail("d0"), remove("d0")),
        shows(all, state("_U")),
        manage("n1", add("d2")),
        until(["n1"], recoveryRemote),
        waitSync(...all),
        shows(all, nosync, state("UU"), spares(0)),
        close(...all),
      ],
      FAILED,
    ),
    part("to a healthy array: a spare", [
      ...open(level, ...all),
      manage("n1", add("d2")),
      until(all, spares(1), state("UU"), nosync),
      close(...all),
    ]),
  ],
});

export const manageAddSpareRow = (level: Level): Scenario => ({
  name: `02${level.tag}_Manage_add-spare`,
  parts: [
    part("to an array without one", [
      ...open(level, ...all),
      manage("n1", addSpare("d2")),
      until(all, spares(1), state("UU"), nosync),
      close(...all),
    ]),
    part("to an array with one", [
      create("n1", ["d0", "d1"], { ...level.shape, spares: ["d2"], assumeClean: true }),
      assemble("n2", ["d0", "d1", "d2"]),
      until(all, spares(1), state("UU"), nosync),
      manage("n1", addSpare("d3")),
      until(all, spares(2), state("UU"), nosync),
      close(...all),
    ]),
  ],
});

export const manageReAddRow = (level: Level): Scenario => ({
  name: `02${level.tag}_Manage_re-add`,
  parts: [
    part(
      "nothing was written meanwhile: nothing is copied",
      [
        ...open(level, ...all),
        manage("n1", fail("d0"), remove("d0")),
        until(all, state("_U")),
        manage("n1", reAdd("d0")),
        waitSync(...all),
        shows(all, state("UU"), copied(0)),
        close(...all),
      ],
      FAILED,
    ),
    part(
      "both nodes wrote meanwhile: what either wrote is copied, and no more (K1)",
      [
        ...open(level, ...all),
        manage("n1", fail("d0"), remove("d0")),
        write("n1", 128, 256),
        write("n2", 1280, 1536),
        manage("n1", reAdd("d0")),
        waitSync(...all),
        shows(all, state("UU"), copiedAtMost(3 * 64)),
        close(...all),
      ],
      FAILED,
    ),
  ],
});
