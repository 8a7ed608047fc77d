import { readdir, realpath } from "node:fs/promises";
import type { ArrayInfo, StatusData } from "../../daemon/control-api.ts";
import type { NameKind } from "./wanted.ts";

/** Null: no daemon has answered in time. */
export type Asked = Pick<StatusData, "arrays" | "nodes" | "operations"> | null;

const DISKS = "/dev/disk/by-id";

/** Names of these kinds; `before` may name the array that is meant. */
export async function namesOf(kinds: readonly NameKind[], before: readonly string[], asked: Asked): Promise<string[]> {
  const found = await Promise.all(kinds.map((kind) => namesOfKind(kind, before, asked)));
  return [...new Set(found.flat())];
}

async function namesOfKind(kind: NameKind, before: readonly string[], asked: Asked): Promise<readonly string[]> {
  const meant = arraysMeant(before, asked?.arrays ?? []);
  switch (kind) {
    case "array":
      return asked === null ? await linkedArrays() : asked.arrays.map(({ name }) => name);
    case "active":
      return pathsOf(meant, (role) => role === "active" || role === "replacement");
    case "loose":
      return pathsOf(meant, (role) => role !== "active" && role !== "replacement");
    case "free":
      return await freeDisks(pathsOf(asked?.arrays ?? [], () => true));
    case "node":
      return asked?.nodes.map(({ name }) => name) ?? [];
    case "operation":
      return asked?.operations.map(({ id }) => id) ?? [];
    case "file":
      return [];
  }
}

/** Those that are named, or all. */
function arraysMeant(before: readonly string[], arrays: readonly ArrayInfo[]): readonly ArrayInfo[] {
  const named = arrays.filter(({ name, path, uuid }) => before.some((word) => [name, path, uuid].includes(word)));
  return named.length > 0 ? named : arrays;
}

const pathsOf = (
  arrays: readonly ArrayInfo[],
  wanted: (role: ArrayInfo["members"][number]["role"]) => boolean,
): readonly string[] =>
  arrays.flatMap(({ members }) => members).flatMap(({ role, path }) => (wanted(role) ? (path ?? []) : []));

/** Arrays that have a device on this host, whether a daemon answers or not. */
const linkedArrays = (): Promise<string[]> => readdir("/dev/mdctl").catch(() => []);

/** Whole disks that are no members here. */
async function freeDisks(used: readonly string[]): Promise<readonly string[]> {
  const links = await readdir(DISKS).catch(() => []);
  const inUse = new Set(await Promise.all(used.map((path) => realpath(path).catch(() => path))));
  const disks = links.filter((name) => !/-part\d+$/.test(name)).map((name) => `${DISKS}/${name}`);
  const real = await Promise.all(disks.map((path) => realpath(path).catch(() => path)));
  return disks.filter((_, i) => !inUse.has(real[i] ?? ""));
}
