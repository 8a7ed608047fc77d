import { lstatSync, mkdirSync, readlinkSync, renameSync, symlinkSync, unlinkSync } from "node:fs";
import { basename, join } from "node:path";
import { fileNameOf } from "./array-name.ts";

/** Where names of arrays lead to their disks. */
const FOLDER = "/dev/mdctl";

export const linkPath = (name: string, uuid: string): string => join(FOLDER, fileNameOf(name, uuid));

/** The name leads to `disk`, whatever it led to before. In one step: who opens it meanwhile gets the one or the other. */
export function makeLink(link: string, disk: string): void {
  mkdirSync(FOLDER, { recursive: true, mode: 0o755 });
  const fresh = `${link}.new`;
  removeLink(fresh);
  symlinkSync(`../${basename(disk)}`, fresh);
  renameSync(fresh, link);
}

/** `disk`: only if it leads there. */
export function removeLink(link: string, disk?: string): void {
  const target = lstatSync(link, { throwIfNoEntry: false })?.isSymbolicLink() ? readlinkSync(link) : null;
  if (target === null || (disk !== undefined && target !== `../${basename(disk)}`)) return;
  unlinkSync(link);
}
