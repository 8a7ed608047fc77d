import {
  bitmap,
  chunkIs,
  largerThan,
  nobitmap,
  nosync,
  recoveryRemote,
  resync,
  sizeIs,
  state,
} from "../expectations.ts";
import {
  assemble,
  close,
  create,
  examined,
  grow,
  part,
  refuses,
  type Scenario,
  shows,
  stop,
  until,
  untilAny,
  waitSync,
  write,
} from "../steps.ts";
import type { Level } from "./levels.ts";
import { open } from "./open.ts";

const all = ["n1", "n2"] as const;
const disks = ["d0", "d1"] as const;

export const growAdd01r1: Scenario = {
  name: "01r1_Grow_add",
  parts: [
    part("one more, with a device that is added in the same step", [
      create("n1", disks, { assumeClean: true }),
      assemble("n2", disks),
      until(all, nosync),
      grow("n1", { raidDevices: 3, add: "d2" }),
      untilAny(all, recoveryRemote),
      waitSync(...all),
      shows(all, nosync, state("UUU")),
      close(...all),
    ]),
    part("one more, with a spare there and a device that is added", [
      create("n1", disks, { assumeClean: true, spares: ["d2"] }),
      assemble("n2", ["d0", "d1", "d2"]),
      until(all, nosync),
      grow("n1", { raidDevices: 3, add: "d3" }),
      untilAny(all, recoveryRemote),
      waitSync(...all),
      shows(all, nosync, state("UUU")),
      close(...all),
    ]),
    part("one more, which the spare takes", [
      create("n1", disks, { assumeClean: true, spares: ["d2"] }),
      assemble("n2", ["d0", "d1", "d2"]),
      until(all, nosync),
      grow("n1", { raidDevices: 3 }),
      untilAny(all, recoveryRemote),
      waitSync(...all),
      shows(all, nosync, state("UUU")),
      close(...all),
    ]),
  ],
};

/** Refused while n2 has the array, which the peer does not look at; and then nothing is different. */
export const bitmapSwitchRow = (level: Level): Scenario => ({
  name: `01${level.tag}_Grow_bitmap-switch`,
  parts: [
    part("none, internal, none, and clustered again", [
      ...open(level, ...all),
      refuses("n1", { verb: "grow", change: { bitmap: "none" } }, "E_HELD"),
      refuses("n2", { verb: "grow", change: { bitmap: "internal" } }, "E_HELD"),
      examined(disks, "clustered"),
      shows(all, bitmap, state("UU"), nosync),
      write("n2", 0, 64),
      stop("n2"),
      until(["n1"], nosync),
      grow("n1", { bitmap: "none" }),
      examined(disks, "none"),
      shows(["n1"], level.shown, nobitmap, state("UU")),
      refuses("n2", { verb: "assemble", disks }),
      write("n1", 64, 512),
      grow("n1", { bitmap: "internal" }),
      examined(disks, "internal"),
      shows(["n1"], bitmap, state("UU"), nosync),
      refuses("n2", { verb: "assemble", disks }),
      write("n1", 512, 1024),
      grow("n1", { bitmap: "none" }),
      examined(disks, "none"),
      shows(["n1"], nobitmap, nosync),
      grow("n1", { bitmap: "clustered" }),
      examined(disks, "clustered"),
      assemble("n2", disks),
      until(all, nosync),
      shows(all, bitmap, state("UU")),
      write("n2", 1024, 1500),
      close(...all),
    ]),
    part("an internal bitmap, stopped and started by another node", [
      ...open(level, "n1"),
      grow("n1", { bitmap: "internal" }),
      write("n1", 0, 256),
      stop("n1"),
      assemble("n2", disks),
      shows(["n2"], bitmap, state("UU"), nosync),
      grow("n2", { bitmap: "clustered" }),
      assemble("n1", disks),
      until(all, nosync),
      close(...all),
    ]),
  ],
});

const SMALL = 1024;

export const resizeRow = (level: Level): Scenario => ({
  name: `01${level.tag}_Grow_resize`,
  parts: [
    part("to all that there is, and back", [
      create("n1", disks, { ...level.shape, assumeClean: true, sizeKib: SMALL, ...stripesOf(level) }),
      assemble("n2", disks),
      until(all, nosync),
      shows(all, level.shown, bitmap, state("UU"), sizeIs(SMALL)),
      grow("n1", { sizeKib: "max" }),
      untilAny(all, resync),
      waitSync(...all),
      until(all, nosync),
      shows(all, state("UU"), largerThan(2 * SMALL)),
      grow("n1", { sizeKib: SMALL }),
      shows(all, nosync, state("UU"), sizeIs(SMALL)),
      close(...all),
    ]),
    ...(level.shape.level === 10 ? [chunkPart(level)] : []),
  ],
});

const stripesOf = ({ shape }: Level) => (shape.level === 10 ? { chunkKib: 64 } : {});

/** The peer moves all data for it, and shows `reshape` meanwhile; with a copy on each member nothing has to move. */
const chunkPart = (level: Level) =>
  part("another chunk", [
    create("n1", disks, { ...level.shape, assumeClean: true, sizeKib: SMALL, chunkKib: 64 }),
    assemble("n2", disks),
    until(all, nosync),
    write("n2", 0, 300),
    grow("n1", { chunkKib: 128 }),
    shows(all, chunkIs(128), sizeIs(SMALL), state("UU")),
    write("n1", 200, 500),
    refuses("n1", { verb: "grow", change: { raidDevices: 3 } }, "E_LEVEL_UNSUPPORTED"),
    close(...all),
  ]);
