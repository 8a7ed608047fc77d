import { readdirSync, readFileSync, realpathSync, statSync } from "node:fs";
import { join } from "node:path";

export interface DeviceNames {
  /** A name that stays with the disk. */
  readonly byId: string | null;
  readonly serial: string | null;
  readonly model: string | null;
  readonly major: number | null;
  readonly minor: number | null;
}

const BY_ID = "/dev/disk/by-id";

/** What this host calls a block device; all null for a file. */
export function deviceNames(path: string): DeviceNames {
  const nothing = { byId: null, serial: null, model: null, major: null, minor: null };
  try {
    const stats = statSync(path);
    if (!stats.isBlockDevice()) return nothing;
    const major = (stats.rdev >>> 8) & 0xfff;
    const minor = (stats.rdev & 0xff) | ((stats.rdev >>> 12) & 0xfff00);
    const sysfs = `/sys/dev/block/${major}:${minor}/device`;
    return {
      byId: byIdName(realpathSync(path)),
      serial: textOf(`${sysfs}/serial`),
      model: textOf(`${sysfs}/model`),
      major,
      minor,
    };
  } catch {
    return nothing;
  }
}

function byIdName(device: string): string | null {
  try {
    const names = readdirSync(BY_ID)
      .map((name) => join(BY_ID, name))
      .filter((link) => realpathSync(link) === device)
      .sort();
    return names.find((name) => !/\/(wwn|dm-uuid)-/.test(name)) ?? names[0] ?? null;
  } catch {
    return null;
  }
}

function textOf(file: string): string | null {
  try {
    return readFileSync(file, "utf8").trim() || null;
  } catch {
    return null;
  }
}
