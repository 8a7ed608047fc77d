import { type Dirent, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { MdError } from "../base/md-error.ts";
import { type FileSetting, type FileSettings, parseConfigFile, type Refuse } from "./config-file.ts";

export const DEFAULT_FILE = "/etc/mdctl/mdctl.conf";
const LONGEST = 1 << 20;

/**
 * What the configuration files say. `given`: a file, a folder of `*.conf` files, or "none"; null: mdctl.conf and then
 * mdctl.conf.d/*.conf in /etc/mdctl, if they are there. Of several files the later one wins. `refuse`: as `parseConfigFile`.
 * E_VALUE, E_PERMISSION.
 */
export function readConfigFiles(given: string | null, standard = DEFAULT_FILE, refuse?: Refuse): FileSettings {
  const settings = new Map<string, FileSetting>();
  const sysfs: FileSetting[] = [];
  const warnings: string[] = [];
  for (const file of given === null ? [...ifThere(standard), ...folder(`${standard}.d`)] : filesOf(given)) {
    const found = readOne(file, refuse);
    for (const [option, setting] of found.settings) settings.set(option, setting);
    sysfs.push(...found.sysfs);
    warnings.push(...found.warnings);
  }
  return { settings, sysfs, warnings };
}

function filesOf(given: string): readonly string[] {
  if (given === "none") return [];
  return attempt(given, () => statSync(given).isDirectory()) ? folder(given) : [given];
}

const ifThere = (file: string): readonly string[] =>
  statSync(file, { throwIfNoEntry: false }) === undefined ? [] : [file];

/** In lexical order. */
function folder(path: string): readonly string[] {
  let entries: readonly Dirent[];
  try {
    entries = readdirSync(path, { withFileTypes: true });
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return [];
    throw unreadable(path, error);
  }
  const names = entries.filter((entry) => !entry.isDirectory() && entry.name.endsWith(".conf"));
  return names.map(({ name }) => join(path, name)).sort();
}

function readOne(file: string, refuse?: Refuse): FileSettings {
  const { mode, size } = attempt(file, () => statSync(file));
  if (size > LONGEST) throw new MdError("E_VALUE", `${file} has ${size} bytes: it is no configuration`);
  return parseConfigFile(
    file,
    attempt(file, () => readFileSync(file, "utf8")),
    (mode & 0o077) !== 0,
    refuse,
  );
}

function attempt<T>(file: string, action: () => T): T {
  try {
    return action();
  } catch (error) {
    throw unreadable(file, error);
  }
}

function unreadable(path: string, cause: unknown): MdError {
  const denied = cause instanceof Error && "code" in cause && cause.code === "EACCES";
  return new MdError(denied ? "E_PERMISSION" : "E_VALUE", `the configuration ${path} cannot be read`, {
    why: cause instanceof Error ? cause.message : String(cause),
    hint: "--config=FILE, or --config=none",
    cause,
  });
}
