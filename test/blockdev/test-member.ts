import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestMember } from "../conformance/io-ring.ts";

const BYTES = 2 << 20;

export const sharedMemoryFolder: string | null = existsSync("/dev/shm") ? "/dev/shm" : null;
export const canMakeLoopDevices: boolean = process.getuid?.() === 0 && existsSync("/dev/loop-control");

/** A zeroed file of 2 MiB in a folder of its own. */
export function fileMember(parent = tmpdir()): TestMember {
  const folder = mkdtempSync(join(parent, "mdctl-member-"));
  const path = join(folder, "member");
  writeFileSync(path, new Uint8Array(BYTES));
  return { path, isBlockDevice: false, remove: () => rmSync(folder, { recursive: true }) };
}

/** A loop device over such a file. */
export function loopMember(logicalBlockSize: number): TestMember {
  const file = fileMember();
  const path = execFileSync("losetup", ["--find", "--show", "--sector-size", `${logicalBlockSize}`, file.path], {
    encoding: "utf8",
  }).trim();
  return {
    path,
    isBlockDevice: true,
    remove() {
      execFileSync("losetup", ["--detach", path]);
      file.remove();
    },
  };
}
