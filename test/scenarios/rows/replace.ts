import {
  copiedAtMost,
  faulty,
  nosync,
  recovering,
  recoveryRemote,
  replacements,
  spares,
  state,
} from "../expectations.ts";
import {
  assemble,
  close,
  create,
  fail,
  kill,
  load,
  manage,
  part,
  refusesToManage,
  remove,
  replace,
  type Scenario,
  type Step,
  shows,
  stop,
  unload,
  until,
  waitSync,
  write,
} from "../steps.ts";
import type { Level } from "./levels.ts";
import { FAILED } from "./open.ts";

const all = ["n1", "n2"] as const;

const withSpare = ({ shape }: Level): readonly Step[] => [
  create("n1", ["d0", "d1"], { ...shape, spares: ["d2"], assumeClean: true }),
  assemble("n2", ["d0", "d1", "d2"]),
  until(all, nosync, spares(1), state("UU")),
];

const begun = (level: Level): readonly Step[] => [
  ...withSpare(level),
  write("n2", 128, 256),
  manage("n1", replace("d0", "d2")),
  until(all, recoveryRemote, replacements(1), state("UU")),
];

/** The peer's suite has none of these: md does not put a replacement in its place on other nodes. */
export const replaceRow = (level: Level): Scenario => ({
  name: `04${level.tag}_Manage_replace`,
  parts: [
    part(
      "under load: the member serves until the new one is whole, then it is faulty and may go",
      [
        ...withSpare(level),
        load(...all),
        manage("n1", replace("d0", "d2")),
        until(all, replacements(1), state("UU")),
        refusesToManage("E_MEMBER_ACTIVE", "n2", replace("d0", "d2")),
        unload(...all),
        shows(all, replacements(1), state("UU")),
        waitSync(...all),
        shows(all, nosync, replacements(0), faulty(1), state("UU")),
        manage("n2", remove("d0")),
        until(all, faulty(0), state("UU")),
        close(...all),
      ],
      FAILED,
    ),
    part(
      "the node that fills is killed: another one goes on",
      [
        ...begun(level),
        kill("n1"),
        until(["n2"], recovering, replacements(1)),
        waitSync("n2"),
        shows(["n2"], nosync, replacements(0), state("UU")),
        assemble("n1", ["d0", "d1", "d2"]),
        until(["n1"], nosync, state("UU")),
        close(...all),
      ],
      FAILED,
    ),
    part(
      "all nodes stop in the middle: whoever assembles goes on",
      [
        ...begun(level),
        stop("n1"),
        until(["n2"], recovering),
        stop("n2"),
        assemble("n2", ["d0", "d1", "d2"]),
        until(["n2"], recovering, replacements(1), state("UU")),
        write("n2", 1280, 1536),
        assemble("n1", ["d0", "d1", "d2"]),
        waitSync(...all),
        shows(all, nosync, replacements(0), state("UU")),
        close(...all),
      ],
      FAILED,
    ),
    part(
      "the member fails meanwhile: the new one is filled in its place",
      [
        ...begun(level),
        manage("n2", fail("d0")),
        shows(all, faulty(1), replacements(0), state("_U")),
        write("n1", 128, 256),
        waitSync(...all),
        shows(all, nosync, faulty(1), state("UU")),
        close(...all),
      ],
      FAILED,
    ),
    part(
      "the new one fails meanwhile: the member goes on",
      [
        ...begun(level),
        manage("n2", fail("d2")),
        until(all, nosync),
        shows(all, faulty(1), replacements(0), state("UU"), copiedAtMost(3 * 1024)),
        close(...all),
      ],
      FAILED,
    ),
  ],
});
