import { closeSync, openSync, readFileSync, writeSync } from "node:fs";
import { posix } from "node:path";

/** A file of the guest: its bytes, or a file of the host to take them from, or the target of a symbolic link. */
export type GuestFile = { readonly bytes: Buffer } | { readonly from: string } | { readonly target: string };

const FOLDER = 0o040755;
const PROGRAM = 0o100755;
const LINK = 0o120777;

/**
 * Writes an initramfs: an archive in cpio's "newc" form (kernel: Documentation/driver-api/early-userspace/buffer-format.rst).
 * Not packed: a guest under emulation unpacks slower than it reads. All are root's and executable; no device node is needed,
 * since the guest mounts a devtmpfs.
 */
export function writeCpio(path: string, files: ReadonlyMap<string, GuestFile>): void {
  const out = openSync(path, "w");
  try {
    let inode = 0;
    const entry = (name: string, mode: number, content: Buffer): void => {
      inode++;
      const fields = [inode, mode, 0, 0, 1, 0, content.length, 0, 0, 0, 0, name.length + 1, 0];
      const header = `070701${fields.map((field) => field.toString(16).padStart(8, "0")).join("")}${name}\0`;
      writeAll(out, padded(Buffer.from(header, "latin1")));
      writeAll(out, padded(content));
    };
    for (const folder of foldersOf(files.keys())) entry(folder, FOLDER, Buffer.alloc(0));
    for (const [name, file] of files) {
      if ("target" in file) entry(name.slice(1), LINK, Buffer.from(file.target));
      else entry(name.slice(1), PROGRAM, "bytes" in file ? file.bytes : readFileSync(file.from));
    }
    entry("TRAILER!!!", 0, Buffer.alloc(0));
  } finally {
    closeSync(out);
  }
}

/** Every folder above the files, parents first, without the leading slash. */
function foldersOf(names: Iterable<string>): Set<string> {
  const folders = new Set<string>();
  const add = (folder: string): void => {
    if (folder === "/" || folders.has(folder.slice(1))) return;
    add(posix.dirname(folder));
    folders.add(folder.slice(1));
  };
  for (const name of names) add(posix.dirname(name));
  return folders;
}

const padded = (bytes: Buffer): Buffer => {
  const rest = bytes.length % 4;
  return rest === 0 ? bytes : Buffer.concat([bytes, Buffer.alloc(4 - rest)]);
};

function writeAll(file: number, bytes: Buffer): void {
  for (let done = 0; done < bytes.length; ) done += writeSync(file, bytes, done);
}
