import { createHash } from "node:crypto";
import { closeSync, mkdirSync, openSync, readdirSync, readFileSync, readSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { runProgram } from "./daemons.ts";

/** Path below the top, with the SHA-256 of what the file holds. */
export type Tree = ReadonlyMap<string, string>;

/** What mkfs, fsck and a reader of a file system are to a test: no mount, so that no kernel driver's cache helps. */
export interface FileSystem {
  /** Makes it on a file or device, and copies a folder into it. `scratch`: an empty folder. */
  make(device: string, from: string, scratch: string): Promise<void>;
  /** Rejects unless it is clean; changes nothing. */
  check(device: string): Promise<void>;
  read(device: string, scratch: string): Promise<Tree>;
}

const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

export function treeOf(folder: string): Tree {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  const paths = files.map(({ parentPath, name }) => join(parentPath, name));
  return new Map(paths.sort().map((path) => [path.slice(folder.length + 1), sha256(readFileSync(path))]));
}

async function must(command: string, args: readonly string[], input = ""): Promise<string> {
  const { exitCode, stdout, stderr } = await runProgram(command, args, input);
  if (exitCode !== 0) throw new Error(`${command} ${args.join(" ")} ended with ${exitCode}: ${stdout}${stderr}`);
  return stdout;
}

export const ext4: FileSystem = {
  make: async (device, from) => {
    await must("mkfs.ext4", ["-q", "-F", "-d", from, device]);
  },
  check: async (device) => {
    await must("e2fsck", ["-fn", device]);
  },
  async read(device, scratch) {
    await must("debugfs", ["-R", `rdump / ${scratch}`, device]);
    return treeOf(scratch);
  },
};

export const xfs: FileSystem = {
  async make(device, from, scratch) {
    const proto = join(scratch, "proto");
    writeFileSync(proto, ["/", "0 0", "d--755 0 0", ...protoOf(from), "$", ""].join("\n"));
    // Smaller than what is supported: the array of a test is. One group alone could not be checked.
    await must("mkfs.xfs", ["-q", "-f", "--unsupported", "-d", "agcount=2", "-p", proto, device]);
  },
  check: async (device) => {
    await must("xfs_repair", ["-n", "-f", device]);
  },
  async read(device) {
    const database = (...commands: readonly string[]): Promise<string> =>
      must("xfs_db", ["-r", "-f", device], `${commands.join("\n")}\n`);
    const about = await database("sb 0", "print agblocks blocksize", "blockget -n", "ncheck");
    const number = (name: string): number => Number(about.match(new RegExp(`^${name} = (\\d+)$`, "m"))?.[1]);
    const [agBlocks, blockSize] = [number("agblocks"), number("blocksize")];
    const files = [...about.matchAll(/^\s+(\d+) (.*[^.\n])$/gm)].map(([, inode = "", path = ""]) => ({ inode, path }));
    const asked = files.flatMap(({ inode }) => [`inode ${inode}`, "print core.size", "bmap"]);
    const answers = (await database(...asked)).split(/^core\.size = /m).slice(1);
    const fd = openSync(device, "r");
    try {
      return new Map(
        files.map(({ path }, i) => {
          const answer = answers[i] ?? "";
          const bytes = Buffer.alloc(Number.parseInt(answer, 10));
          for (const [, offset, group, block, count] of answer.matchAll(
            /data offset (\d+) startblock \d+ \((\d+)\/(\d+)\) count (\d+)/g,
          )) {
            const [to, at] = [Number(offset) * blockSize, (Number(group) * agBlocks + Number(block)) * blockSize];
            readSync(fd, bytes, to, Math.min(Number(count) * blockSize, bytes.length - to), at);
          }
          return [path, sha256(bytes)] as const;
        }),
      );
    } finally {
      closeSync(fd);
    }
  },
};

/** The description of a folder that mkfs.xfs copies files by. */
function protoOf(folder: string): readonly string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return [`${entry.name} d--755 0 0`, ...protoOf(path), "$"];
    return [`${entry.name} ---644 0 0 ${path}`];
  });
}

/** An empty folder in another. */
export function emptyFolder(parent: string, name: string): string {
  const path = join(parent, name);
  mkdirSync(path);
  return path;
}
