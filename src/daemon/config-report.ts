import { MdError } from "../base/md-error.ts";
import { readConfig } from "./config.ts";
import type { FileSettings } from "./config-file.ts";
import { DEFAULT_FILE, readConfigFiles } from "./config-files.ts";
import { daemonOptions, variableOf } from "./daemon-options.ts";
import { redact } from "./redact.ts";

type Environment = Readonly<Record<string, string | undefined>>;

/** What is wrong with the configuration, all of it: first words that nobody knows, then values. And what does no harm. */
export interface ConfigFaults {
  readonly errors: readonly MdError[];
  readonly warnings: readonly string[];
}

/** A daemon started with these files and this environment would refuse the first of them. `given`: as `readConfigFiles`. */
export function checkConfig(given: string | null, env: Environment): ConfigFaults {
  const errors: MdError[] = [];
  const files = readConfigFiles(given, DEFAULT_FILE, (error) => errors.push(error));
  const settings = new Map(files.settings);
  for (;;) {
    try {
      readConfig(new Map(), env, { ...files, settings });
      return { errors, warnings: files.warnings };
    } catch (error) {
      if (!(error instanceof MdError)) throw error;
      errors.push(error);
      // The next one shows when this one is left out.
      const options = (error.details["options"] ?? []) as readonly string[];
      if (!options.some((option) => settings.delete(option))) return { errors, warnings: files.warnings };
    }
  }
}

/** A setting in force. `origin`: FILE:LINE, a variable's name, or "built in". */
export interface SettingInForce {
  readonly option: string;
  readonly value: string | null;
  readonly origin: string;
}

/** What holds for a daemon that is told nothing on its command line; without passwords. */
export function settingsInForce(files: FileSettings, env: Environment): readonly SettingInForce[] {
  return daemonOptions.map(({ name: option, builtIn = null }) => {
    const variable = variableOf.get(option) ?? "";
    const inherited = env[variable] || null;
    const written = files.settings.get(option);
    if (inherited !== null) return { option, value: redact(inherited), origin: variable };
    if (written !== undefined) return { option, value: redact(written.text), origin: written.at };
    return { option, value: builtIn, origin: "built in" };
  });
}
