import {
  bitmap,
  copiedAtMost,
  inSlot,
  nosync,
  pending,
  raid1,
  recoveryRemote,
  resync,
  spares,
  state,
} from "../expectations.ts";
import {
  add,
  addSpare,
  assemble,
  close,
  create,
  fail,
  kill,
  killDuring,
  load,
  manage,
  part,
  refusesToManage,
  remove,
  type Scenario,
  shows,
  stop,
  together,
  unload,
  until,
  untilAny,
  waitSync,
  whileStill,
  write,
} from "../steps.ts";
import { r1 } from "./levels.ts";
import { FAILED, open } from "./open.ts";

const two = ["n1", "n2"] as const;
const three = ["n1", "n2", "n3"] as const;
const disks = ["d0", "d1"] as const;
/** KiB of a bitmap chunk. */
const CHUNK_KIB = 64;

/** What the peer's suite does not play, and where its history has bugs (md-cluster, 26 and 27). */
export const killedResyncing: Scenario = {
  name: "04r1_killed-resyncing",
  parts: [
    part("the node that resyncs is killed: one of the others goes on, though neither ever wrote (26.1, 27.4, K3)", [
      create("n1", disks),
      assemble("n2", disks),
      assemble("n3", disks),
      until(["n1"], resync),
      until(["n2", "n3"], pending),
      kill("n1"),
      untilAny(["n2", "n3"], resync),
      waitSync("n2", "n3"),
      assemble("n1", disks),
      until(three, nosync),
      shows(three, raid1, bitmap, state("UU")),
      close(...three),
    ]),
  ],
};

export const dirtyBitmaps: Scenario = {
  name: "05r1_dirty-bitmaps",
  parts: [
    part("all nodes are killed with bits in two slots; the first comes back first (27.1, K2)", [
      ...open(r1, ...two),
      load(...two),
      together(kill("n1"), kill("n2")),
      unload(...two),
      assemble("n1", disks),
      waitSync("n1"),
      assemble("n2", disks),
      waitSync(...two),
      close(...two),
    ]),
    part("the second comes back first (27.1, K2)", [
      ...open(r1, ...two),
      load(...two),
      together(kill("n1"), kill("n2")),
      unload(...two),
      assemble("n2", disks),
      assemble("n1", disks),
      waitSync(...two),
      close(...two),
    ]),
    part("the only dirty chunk of the killed node is chunk 0 (27.3)", [
      ...open(r1, ...two),
      write("n2", 0, 8),
      kill("n2"),
      until(["n1"], inSlot(0), nosync),
      waitSync("n1"),
      shows(["n1"], copiedAtMost(CHUNK_KIB)),
      close("n1"),
    ]),
    part("two nodes leave at once with bits of what they just wrote (26.9)", [
      ...open(r1, ...three),
      write("n1", 0, 300),
      write("n2", 1000, 1500),
      together(stop("n1"), stop("n2")),
      waitSync("n3"),
      close("n3"),
    ]),
    part("nodes come back in another order, into each other's slots (25.2)", [
      ...open(r1, ...two),
      shows(["n1"], inSlot(0)),
      write("n1", 0, 64),
      write("n2", 3000, 3100),
      stop("n1"),
      stop("n2"),
      assemble("n2", disks),
      assemble("n1", disks),
      until(two, nosync),
      shows(["n2"], inSlot(0)),
      shows(["n1"], inSlot(1)),
      close(...two),
    ]),
  ],
};

export const busyDevices: Scenario = {
  name: "06r1_busy-devices",
  parts: [
    part(
      "failed and removed in one command while another node is slow (26.22)",
      [
        ...open(r1, ...two),
        whileStill("n2", manage("n1", fail("d0"), remove("d0"))),
        until(two, state("_U")),
        manage("n2", add("d0")),
        waitSync(...two),
        shows(two, state("UU")),
        close(...two),
      ],
      FAILED,
    ),
    part(
      "a spare is added while a member is filled, and taken out by another node (26.6, 26.15, 26.26)",
      [
        ...open(r1, ...two),
        manage("n1", fail("d0"), remove("d0"), add("d2")),
        until(["n1"], recoveryRemote),
        manage("n2", add("d3")),
        until(two, spares(1)),
        manage("n1", remove("d3")),
        until(two, spares(0)),
        waitSync(...two),
        shows(two, state("UU")),
        close(...two),
      ],
      FAILED,
    ),
    part(
      "a member fails while another node is joining (27.24)",
      [
        ...open(r1, "n1"),
        together(manage("n1", fail("d0")), assemble("n2", disks)),
        until(two, state("_U")),
        manage("n2", add("d2")),
        waitSync(...two),
        shows(two, state("UU")),
        close(...two),
      ],
      FAILED,
    ),
    part(
      "the last copy is failed by nobody",
      [
        ...open(r1, ...two),
        manage("n1", fail("d0")),
        refusesToManage("E_LAST_COPY", "n2", fail("d1")),
        manage("n2", remove("d0"), add("d0")),
        waitSync(...two),
        close(...two),
      ],
      FAILED,
    ),
    part(
      "all nodes write while a member fails, goes and comes back (27.5, 27.6, K1)",
      [
        ...open(r1, ...three),
        load(...three),
        manage("n1", fail("d0")),
        manage("n1", remove("d0")),
        write("n1", 0, 100),
        write("n2", 300, 700),
        manage("n3", add("d0")),
        waitSync(...three),
        unload(...three),
        shows(three, state("UU")),
        close(...three),
      ],
      FAILED,
    ),
    part("all nodes write while the members are made equal (27.5)", [
      create("n1", disks),
      assemble("n2", disks),
      assemble("n3", disks),
      load(...three),
      waitSync(...three),
      unload(...three),
      close(...three),
    ]),
  ],
};

export const killedSpeaking: Scenario = {
  name: "07r1_killed-speaking",
  parts: [0, 1, 2].map((moments) =>
    part(`a node is killed while it holds the token, ${moments} moments after it took it (26.1, 27.20, F35)`, [
      ...open(r1, ...three),
      load("n2", "n3"),
      killDuring("n1", moments, add("d2")),
      // The token is free again, and whatever was said is known to both or to neither.
      manage("n2", addSpare("d3")),
      manage("n3", addSpare("d4")),
      unload("n2", "n3"),
      until(["n2", "n3"], nosync, state("UU")),
      assemble("n1", disks),
      until(three, nosync, state("UU")),
      close(...three),
    ]),
  ),
};
