import { truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { bootGuests, type Guest, type GuestSet } from "../../tools/vm/boot.ts";
import { buildProgram } from "../support/built-program.ts";
import { tempDir } from "../support/temp-dir.ts";

/** Deaths of the daemon under load; issue 7 asks for 20 by hand. */
const ROUNDS = Number(process.env["MDCTL_ROUNDS"] ?? 3);
const MIB = 1 << 20;
const DISK_BYTES = 96 * MIB;
const mdctl = "MDCTL_SOCKET=/run/mdctl.sock node /mdctl/bin/mdctl.mjs";
const SLOW_MS = 300_000;

/** Under software emulation everything takes ten times as long: the lease is that of a slow machine. */
const daemon =
  "node /mdctl/bin/mdctld.mjs --node=n1 --socket=/run/mdctl.sock --lock-server=unix:/run/lockd.sock --lease=20s";
/** Starts it and remembers its pid; what it logs begins anew. */
const start = `sh -c '${daemon} >/tmp/log 2>&1 & echo $! >/tmp/pid'; until grep -q '"evt":"ready"' /tmp/log; do sleep 0.2; done`;
const end = (signal: string): string =>
  `kill -${signal} $(cat /tmp/pid); while [ -e /proc/$(cat /tmp/pid)/exe ]; do sleep 0.1; done`;
const recovered = `until grep -q '"evt":"recover' /tmp/log; do sleep 0.2; done; grep '"evt":"recover' /tmp/log`;

describe("a mirror as a ublk disk, under a real kernel", () => {
  const folder = tempDir("vm-ublk");
  let set: GuestSet;
  let guest: Guest;

  beforeAll(async () => {
    const disks = ["a", "b"].map((name) => {
      const path = join(folder.path, name);
      writeFileSync(path, "");
      truncateSync(path, DISK_BYTES);
      return { name, path };
    });
    const built = buildProgram();
    try {
      set = await bootGuests({
        ...{ disks, modules: ["ublk_drv", "crc32c_generic", "ext4"], mdctl: built.program },
        ...{ programs: ["fio", "mke2fs", "e2fsck"], memoryMiB: 1024, cpus: 2, limitSeconds: 900 },
      });
    } finally {
      built.remove();
    }
    [guest] = set.guests as [Guest];
    await guest.output(start, SLOW_MS);
    await guest.output(
      `${mdctl} create md0 --level=1 --cluster --assume-clean --run --no-map /dev/disk/a /dev/disk/b`,
      SLOW_MS,
    );
  }, 1_500_000);
  afterAll(async () => {
    await set?.close();
    folder.remove();
  });

  it("is there under its name, and says truly what it can", async () => {
    expect(await guest.output(`${mdctl} map md0`, SLOW_MS)).toBe("/dev/ublkb0\n");
    expect(await guest.output("readlink -f /dev/mdctl/md0")).toBe("/dev/ublkb0\n");
    const limit = async (name: string): Promise<string> =>
      (await guest.output(`cat /sys/block/ublkb0/queue/${name}`)).trim();
    expect(await limit("logical_block_size")).toBe("512");
    expect(await limit("write_cache")).toBe("write back");
    expect(await limit("fua")).toBe("1");
    expect(await limit("max_sectors_kb")).toBe("256");
    expect(Number(await limit("discard_max_bytes"))).toBe(256 * MIB);
    expect(await guest.output("cat /sys/block/ublkb0/ro")).toBe("0\n");
  });

  it("holds a file system, and is not taken away from it", async () => {
    // By path: the guest's shell has a smaller mke2fs of its own.
    const busy = await guest.run(
      `/bin/mke2fs -q -t ext4 -F /dev/mdctl/md0 && mkdir -p /mnt && mount -t ext4 /dev/mdctl/md0 /mnt && ${mdctl} unmap md0`,
      SLOW_MS,
    );
    expect(busy).toMatchObject({ exitCode: 6, stderr: expect.stringContaining("mounted on /mnt") });
    const fio =
      "fio --name=f --directory=/mnt --size=4M --rw=randwrite --bs=4k --fsync=16 --ioengine=libaio --direct=1 --iodepth=8 --verify=crc32c --do_verify=1 --verify_fatal=1";
    expect(await guest.output(`${fio} && umount /mnt && /bin/e2fsck -fn /dev/ublkb0`, SLOW_MS)).toContain("err= 0");
  });

  it("shows partitions, and is gone after unmap with all that led to it", async () => {
    // One partition of 16 MiB: type 83, from sector 2048.
    const entry = "\\000\\000\\000\\000\\203\\000\\000\\000\\000\\010\\000\\000\\000\\200\\000\\000";
    await guest.output(
      `printf '${entry}' | dd of=/dev/ublkb0 bs=1 seek=446 conv=notrunc; printf '\\125\\252' | dd of=/dev/ublkb0 bs=1 seek=510 conv=notrunc,fsync`,
    );
    await guest.output(`${mdctl} unmap md0 && ! ls /dev/ublkb0 /dev/ublkc0 && ! ls /dev/mdctl/md0`, SLOW_MS);
    await guest.output(`${mdctl} map md0 --queues=2 --depth=16`, SLOW_MS);
    expect(await guest.output("cat /sys/class/block/ublkb0p1/size")).toBe("32768\n");
    expect(await guest.output("ls /sys/block/ublkb0/mq | wc -l")).toBe("2\n");
  });

  it(`survives its daemon's death ${ROUNDS} times, and no client sees an error`, async () => {
    const fio =
      "fio --name=x --filename=/dev/ublkb0 --direct=1 --rw=randrw --bs=4k --iodepth=8 --ioengine=libaio --size=8M --verify=crc32c --verify_fatal=1 --verify_backlog=32 --time_based --runtime=100000";
    await guest.output(`sh -c '${fio} >/tmp/fio 2>&1; echo $? >/tmp/fio.rc' & echo`);
    const done = "awk '{print $1+$5}' /sys/block/ublkb0/stat";
    const moves = `n=$(${done}); until [ $(${done}) -gt $((n+64)) ] || [ -e /tmp/fio.rc ]; do sleep 0.2; done`;
    await guest.output(moves);
    for (let round = 0; round < ROUNDS; round++) {
      await guest.output(`${end("KILL")}; ${start}`, SLOW_MS);
      expect(await guest.output(recovered, SLOW_MS)).toContain("/dev/ublkb0 goes on under this daemon");
      await guest.output(moves);
      expect((await guest.run("cat /tmp/fio.rc /tmp/fio")).stdout).not.toContain("error");
    }
    // fio ends in order, after what it has under way, on SIGINT.
    await guest.output("kill -INT $(pidof fio); until [ -e /tmp/fio.rc ]; do sleep 0.1; done; cat /tmp/fio", SLOW_MS);
    const report = await guest.output("cat /tmp/fio");
    expect(report).toContain("err= 0");
    expect(report).not.toMatch(/verify: bad|verify failed/);
  });

  it("waits for the next daemon while it is used, and goes with its daemon when nobody uses it", async () => {
    await guest.output(
      `sh -c 'exec 3</dev/ublkb0; echo $$ >/tmp/holder; exec sleep 100000' & until [ -s /tmp/holder ]; do sleep 0.1; done`,
    );
    await guest.output(end("TERM"), SLOW_MS);
    expect(await guest.output("ls /dev/ublkb0")).toBe("/dev/ublkb0\n");
    await guest.output(start, SLOW_MS);
    expect(await guest.output(recovered, SLOW_MS)).toContain("goes on");
    expect((await guest.run(`${mdctl} stop md0`, SLOW_MS)).stderr).toMatch(/open in process \d+ \(sleep\)/);
    await guest.output("kill $(cat /tmp/holder)");
    await guest.output(`${end("TERM")}; ! ls /dev/ublkb0 /dev/ublkc0`, SLOW_MS);
  });
});
