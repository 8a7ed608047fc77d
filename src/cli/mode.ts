import { MdError } from "../base/md-error.ts";
import { nearest } from "../base/nearest.ts";
import { isArrayDesignator } from "./array-designator.ts";
import { globalOptions } from "./options/global-options.ts";
import { verbNamed, verbs } from "./options/verbs.ts";

/** What a command line asks for, before its options are read. */
export type Mode =
  | { readonly type: "help"; readonly topic: string | null }
  | { readonly type: "help-exit" }
  | { readonly type: "version" }
  | { readonly type: "verb"; readonly verb: string; readonly spelling: Spelling; readonly words: readonly string[] }
  /** The option spelling of add, fail and remove: operations in the order of the words. */
  | { readonly type: "manage"; readonly words: readonly string[] };

/** `verb`: `mdctl detail md0`. `option`: `mdctl --detail md0`, as mdadm has it. */
export type Spelling = "verb" | "option";

const modeOptions: Readonly<Record<string, string>> = {
  "-A": "assemble",
  "--assemble": "assemble",
  "-B": "build",
  "--build": "build",
  "-C": "create",
  "--create": "create",
  "-F": "monitor",
  "--follow": "monitor",
  "--monitor": "monitor",
  "-G": "grow",
  "--grow": "grow",
  "-I": "incremental",
  "--incremental": "incremental",
};

const miscOptions: Readonly<Record<string, string>> = {
  "-D": "detail",
  "--detail": "detail",
  "-E": "examine",
  "--examine": "examine",
  "-X": "examine-bitmap",
  "--examine-bitmap": "examine-bitmap",
  "--examine-badblocks": "examine-badblocks",
  "-Q": "query",
  "--query": "query",
  "-S": "stop",
  "--stop": "stop",
  "-W": "wait",
  "--wait": "wait",
  "--zero-superblock": "zero-superblock",
  "-R": "run",
  "--run": "run",
  "-o": "readonly",
  "--readonly": "readonly",
  "-w": "readwrite",
  "--readwrite": "readwrite",
  "--action": "action",
};

const manageOperations = new Set([
  ...["-a", "--add", "--re-add", "--add-spare", "-f", "--fail", "--set-faulty"],
  ...["-r", "--remove", "--replace", "--cluster-confirm"],
]);

/** Long names of the options that choose a mode. */
export const modeOptionNames: readonly string[] = [
  ...Object.keys(modeOptions),
  ...Object.keys(miscOptions),
  ...manageOperations,
].filter((name) => name.startsWith("--"));

/** What mdadm or the manual has and this version has not: said, not guessed. */
const absent: Readonly<Record<string, string>> = {
  build: "arrays without superblocks are not supported",
  incremental: "incremental is not available in this version",
  monitor: "monitor is not available in this version",
  run: "run is not available in this version",
};

const absentHints: Readonly<Record<string, string>> = {
  incremental: "mdctl assemble --scan",
  monitor: "mdctl events --follow",
  run: "mdctl assemble --run ARRAY",
};

/** Finds the mode by the table of the command line specification, 1.2: the first row that fits. E_USAGE if none does. */
export function findMode(argv: readonly string[]): Mode {
  const { globals, rest } = leadingGlobals(argv);
  const [first] = rest;
  if (first === undefined) {
    if (globals.length === 0) return { type: "help", topic: null };
    throw new MdError("E_USAGE", "nothing to do: a verb is missing", { hint: "mdctl --help" });
  }
  if (first === "-h" || first === "--help" || first === "--help-options") return helpFor(rest.slice(1));
  if (first === "--help-exit") return { type: "help-exit" };
  if (first === "-V" || first === "--version") return { type: "version" };

  if (verbNamed(first) !== null) {
    return { type: "verb", verb: first, spelling: "verb", words: [...globals, ...rest.slice(1)] };
  }
  if (first in absent) refuseAbsent(first);
  const words = first === "--manage" || first === "--misc" ? rest.slice(1) : rest;
  return optionSpelling(globals, words, argv);
}

function optionSpelling(globals: readonly string[], words: readonly string[], argv: readonly string[]): Mode {
  const [first = ""] = words;
  const started = modeOf(first, modeOptions);
  if (started !== null) return verbMode(started.verb, [...globals, ...started.left, ...words.slice(1)]);

  // The mode is that of the first option that has one; what stands before it is the array.
  for (const [at, word] of words.entries()) {
    if (word === "--") break;
    if (manageOperations.has(word) || isGroupOf(word, manageLetters)) {
      return { type: "manage", words: [...globals, ...words] };
    }
    const misc = modeOf(word, miscOptions) ?? modeOf(word, modeOptions);
    if (misc !== null)
      return verbMode(misc.verb, [...globals, ...words.slice(0, at), ...misc.left, ...words.slice(at + 1)]);
  }
  if (words.some((word) => word === "-h" || word === "--help")) return { type: "help", topic: null };
  return withoutMode(globals, words, argv);
}

const manageLetters = "afr";
const isGroupOf = (word: string, letters: string): boolean =>
  /^-[A-Za-z]+$/.test(word) && letters.includes(word[1] ?? " ");

/** A mode option, alone or at the head of a group (`-CR`): its verb, and the group without it. */
function modeOf(
  word: string,
  table: Readonly<Record<string, string>>,
): { readonly verb: string; readonly left: readonly string[] } | null {
  const [name = "", value] = word.split(/=(.*)/s);
  const long = table[name];
  if (long !== undefined && word.startsWith("--")) return { verb: long, left: value === undefined ? [] : [value] };
  if (!/^-[A-Za-z]/.test(word)) return null;
  const verb = table[word.slice(0, 2)];
  if (verb === undefined) return null;
  return { verb, left: word.length > 2 ? [`-${word.slice(2)}`] : [] };
}

function verbMode(verb: string, words: readonly string[]): Mode {
  if (verb in absent) refuseAbsent(verb);
  return { type: "verb", verb, spelling: "option", words };
}

function withoutMode(globals: readonly string[], words: readonly string[], argv: readonly string[]): Mode {
  const [first = ""] = words;
  const isOption = first.startsWith("-");
  if (words.length === 1 && !isOption && first.includes("/")) {
    return { type: "verb", verb: "query", spelling: "option", words: [...globals, first] };
  }
  if (!isOption && isArrayDesignator(first)) {
    throw new MdError("E_USAGE", `no operation is given for ${first}`, { hint: `mdctl detail ${first}` });
  }
  const near = nearest(
    first.replace(/^-+/, ""),
    verbs.map(({ name }) => name),
  );
  const what = isOption ? "option" : "verb";
  throw new MdError("E_USAGE", `unknown ${what} "${first}"`, {
    why: `the command line was: mdctl ${argv.join(" ")}`,
    hint: near === null ? "mdctl --help" : `mdctl ${near}   (did you mean ${near}?)`,
  });
}

function refuseAbsent(verb: string): never {
  const hint = absentHints[verb];
  throw new MdError("E_USAGE", absent[verb] ?? verb, hint === undefined ? {} : { hint });
}

function helpFor(words: readonly string[]): Mode {
  const topic = words.find((word) => verbNamed(word) !== null);
  const byOption = words.map((word) => modeOf(word, { ...modeOptions, ...miscOptions })?.verb).find(Boolean);
  return { type: "help", topic: topic ?? byOption ?? null };
}

/** Global options may stand before the verb; `--help` and `--version` there are modes of their own. */
function leadingGlobals(argv: readonly string[]): { globals: string[]; rest: readonly string[] } {
  const globals: string[] = [];
  let at = 0;
  for (; at < argv.length; at++) {
    const word = argv[at] ?? "";
    const [name = ""] = word.replace(/^--/, "").split("=");
    const spec = word.startsWith("--")
      ? globalOptions.find((option) => option.name === name)
      : globalOptions.find(({ short }) => short !== undefined && word === `-${short}`);
    if (spec === undefined || spec.name === "help" || spec.name === "version") break;
    globals.push(word);
    const takesNext = spec.value !== undefined && spec.optional !== true && !word.includes("=");
    if (takesNext && at + 1 < argv.length) globals.push(argv[++at] ?? "");
  }
  return { globals, rest: argv.slice(at) };
}
