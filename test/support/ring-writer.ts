// Writes 4 KiB to the device at argv[2] through io_uring when a line comes, with argv[3] held; to be killed.
import { sector } from "../../src/base/units.ts";
import { openRing } from "../../src/blockdev/open-ring.ts";

const [, , path = "", hold = ""] = process.argv;
const ring = openRing("io_uring", { entries: 64, arenaBytes: 1 << 20 });
ring.holdFile?.(hold);
const device = ring.openDevice(path, { readOnly: false });
process.stdout.write("held\n");
process.stdin.once("data", () => {
  ring.write(device, sector(64), 8, 0, 0, 1);
  ring.submitAndReap(0);
  process.stdout.write("submitted\n");
});
