import { MdError } from "../base/md-error.ts";
import { nearest } from "../base/nearest.ts";

/** A value of a configuration file, as the daemon's option of the same name would have it. */
export interface FileSetting {
  readonly text: string;
  /** FILE:LINE. */
  readonly at: string;
  /** Others may read the file. */
  readonly exposed: boolean;
}

export interface FileSettings {
  /** By the daemon's options (`daemonOptions`); a flag's text is yes or no. */
  readonly settings: ReadonlyMap<string, FileSetting>;
  /** The words of each SYSFS line. */
  readonly sysfs: readonly FileSetting[];
  /** What is not right and does no harm, one line each. */
  readonly warnings: readonly string[];
}

interface Keyword {
  /** Option that takes the whole line. */
  readonly line?: string;
  /** Option that takes the word without `=`, and what it is called. */
  readonly name?: readonly [option: string, called: string];
  /** Options by the key of KEY=VALUE. */
  readonly keys?: Readonly<Record<string, string>>;
}

/** No option: there may be several. */
const SYSFS = "sysfs";

/** Command line specification, section 11: what of it has an effect. Everything else is refused. */
const keywords: Readonly<Record<string, Keyword>> = {
  CLUSTER: { name: ["cluster", "NAME"], keys: { lease: "lease", ping: "ping", lost: "lost" } },
  DAEMON: {
    keys: { node: "node", socket: "socket", "state-dir": "state-dir", ring: "ring", "file-members": "file-members" },
  },
  FENCE: { line: "fence" },
  IOTIMEOUT: { name: ["io-timeout", "DUR"] },
  LOCKSERVER: { line: "lock-server" },
  LOG: { keys: { level: "log-level", format: "log-format" } },
  SYNC: { keys: { "speed-min": "sync-speed-min", "speed-max": "sync-speed-max" } },
  SYSFS: { line: SYSFS },
  SLOWIO: { keys: { threshold: "slow-io" } },
};

/** Of mdadm.conf and of the specification, and without an effect so far. */
const idle = [
  ...["DEVICE", "ARRAY", "MAILADDR", "MAILFROM", "PROGRAM", "CREATE", "HOMEHOST", "HOMECLUSTER", "AUTO", "POLICY"],
  ...["PART-POLICY", "MONITORDELAY", "NODE", "MAP", "SCRUB", "METRICS", "DASHBOARD"],
  "INCLUDE",
];

const absolute: ReadonlySet<string> = new Set(["socket", "state-dir"]);

interface Word {
  readonly text: string;
  readonly line: number;
}

/** What becomes of a word that is wrong: it is left out if this returns. */
export type Refuse = (error: MdError) => void;

const refuseAtOnce: Refuse = (error) => {
  throw error;
};

/** Null: it was wrong, and is left out. */
function unlessWrong<T>(refuse: Refuse, read: () => T): T | null {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof MdError)) throw error;
    refuse(error);
    return null;
  }
}

/**
 * Reads a configuration file in the syntax of mdadm.conf: words separated by white space, quotes, `#` comments, indented
 * lines go on with the one before, keywords in any case and shortened to three letters. Of a setting that is given twice the first
 * counts, as with mdadm. E_VALUE names file, line, the word and what is known instead. Pure.
 */
export function parseConfigFile(
  file: string,
  text: string,
  exposed = false,
  refuse: Refuse = refuseAtOnce,
): FileSettings {
  const settings = new Map<string, FileSetting>();
  const sysfs: FileSetting[] = [];
  const warnings: string[] = [];
  for (const [first, ...rest] of logicalLines(file, text, refuse)) {
    if (first === undefined) continue;
    for (const [option, { text, line }] of settingsOf(file, first, rest, refuse)) {
      const at = `${file}:${line}`;
      const before = settings.get(option);
      if (option === SYSFS) sysfs.push({ text, at, exposed });
      else if (before === undefined) settings.set(option, { text, at, exposed });
      else warnings.push(`${at}: ${option} was set at ${before.at} already, and that counts`);
    }
  }
  return { settings, sysfs, warnings };
}

type Named = readonly [option: string, word: Word];

function settingsOf(file: string, first: Word, rest: readonly Word[], refuse: Refuse): readonly Named[] {
  const name = unlessWrong(refuse, () => keywordOf(file, first, rest));
  if (name === null) return [];
  const { line } = keywords[name] ?? {};
  if (line === undefined) {
    return rest.map((word) => unlessWrong(refuse, () => settingOf(file, name, word))).filter((found) => found !== null);
  }
  const text = unlessWrong(refuse, () => rest.map((word) => quoted(file, word)).join(" "));
  return text === null ? [] : [[line, { text, line: first.line }]];
}

/** One word of a line, by its keyword. */
function settingOf(file: string, keyword: string, word: Word): Named {
  const { name, keys = {} } = keywords[keyword] ?? {};
  const [, key = "", value = ""] = /^([^=]*)=(.*)$/s.exec(word.text) ?? [];
  const option = Object.hasOwn(keys, key) ? keys[key] : undefined;
  if (option === undefined) {
    if (name !== undefined && !word.text.includes("=")) return [name[0], word];
    const meant = nearest(key, Object.keys(keys));
    const hint = meant === null ? {} : { hint: `${keyword} ${meant}=${value}` };
    throw refusal(file, word, `${keyword} knows no "${word.text}"`, `it takes ${takes(keyword)}`, hint);
  }
  if (value === "") throw refusal(file, word, `${keyword}: ${key}= has no value`, `it takes ${takes(keyword)}`);
  if (option === "file-members" && value !== "yes" && value !== "no") {
    throw refusal(file, word, `${keyword}: file-members= takes yes or no, not "${value}"`);
  }
  if (absolute.has(option) && !value.startsWith("/")) {
    throw refusal(file, word, `${keyword}: ${key}=${value} is not an absolute path`);
  }
  return [option, { text: value, line: word.line }];
}

function keywordOf(file: string, word: Word, rest: readonly Word[]): string {
  const name = keywordNamed(file, word);
  if (rest.length === 0) throw refusal(file, word, `${name} says nothing`, `it takes ${takes(name)}`);
  return name;
}

function keywordNamed(file: string, word: Word): string {
  const wanted = word.text.toUpperCase();
  const fits = (name: string): boolean => wanted.length >= 3 && name.startsWith(wanted);
  const found = Object.keys(keywords).find(fits);
  if (found !== undefined) return found;
  const known = `keywords are ${Object.keys(keywords).join(", ")}`;
  const unused = idle.find(fits);
  if (unused !== undefined) throw refusal(file, word, `${unused} has no effect in this version`, known);
  const meant = nearest(wanted, Object.keys(keywords));
  throw refusal(file, word, `"${word.text}" is no keyword`, known, meant === null ? {} : { hint: meant });
}

/** Every keyword: what it takes, and the daemon's options that it stands for. */
export const knownKeywords = (): readonly {
  readonly keyword: string;
  readonly takes: string;
  readonly options: readonly string[];
}[] =>
  Object.entries(keywords).map(([keyword, { line, name, keys = {} }]) => {
    const whole = line === undefined || line === SYSFS ? [] : [line];
    return {
      keyword,
      takes: takes(keyword),
      options: [...whole, ...(name?.slice(0, 1) ?? []), ...Object.values(keys)],
    };
  });

function takes(name: string): string {
  const { line, name: named, keys = {} } = keywords[name] ?? {};
  if (line === SYSFS) return "name= or uuid=, and attributes of md";
  if (line !== undefined) return `the words of mdctld --${line}`;
  return [...(named === undefined ? [] : [named[1]]), ...Object.keys(keys).map((key) => `${key}=`)].join(", ");
}

/** As a reader of a whole line takes it apart again. */
function quoted(file: string, word: Word): string {
  if (word.text.includes('"')) throw refusal(file, word, `"${word.text}" has a quotation mark in it`);
  return /\s/.test(word.text) ? `"${word.text}"` : word.text;
}

/** The words of each line together with the indented ones after it. */
function logicalLines(file: string, text: string, refuse: Refuse): readonly Word[][] {
  const lines: Word[][] = [];
  text.split(/\r?\n/).forEach((content, at) => {
    const words = unlessWrong(refuse, () => wordsOf(file, content, at + 1)) ?? [];
    const [first] = words;
    if (first === undefined) return;
    const last = lines.at(-1);
    if (!/^\s/.test(content)) lines.push([...words]);
    else if (last === undefined)
      refuse(refusal(file, first, "an indented line goes on with the one before; there is none"));
    else last.push(...words);
  });
  return lines;
}

function wordsOf(file: string, content: string, line: number): readonly Word[] {
  const words: Word[] = [];
  let word: string | null = null;
  let quote: string | null = null;
  const end = (): void => {
    if (word !== null) words.push({ text: word, line });
    word = null;
  };
  for (const char of content) {
    // biome-ignore lint/suspicious/noControlCharactersInRegex: nobody sees them
    if (/[\u0000-\u0008\u000e-\u001f\u007f]/.test(char)) {
      throw refusal(file, { text: "", line }, "a control character stands in it");
    }
    if (quote !== null) {
      if (char === quote) quote = null;
      else word += char;
    } else if (/\s/.test(char)) end();
    else if (char === "#" && word === null) return words;
    else {
      word ??= "";
      if (char === '"' || char === "'") quote = char;
      else word += char;
    }
  }
  if (quote !== null) throw refusal(file, { text: "", line }, `a quotation that begins with ${quote} does not end`);
  end();
  return words;
}

function refusal(file: string, { line }: Word, what: string, why?: string, more: { hint?: string } = {}): MdError {
  return new MdError("E_VALUE", `${file}:${line}: ${what}`, { ...(why === undefined ? {} : { why }), ...more });
}
