import { tableOf } from "../invocation.ts";
import { findMode, type Mode, modeOptionNames } from "../mode.ts";
import { manageOptions } from "../options/array-verbs.ts";
import type { OptionSpec } from "../options/option-spec.ts";
import { verbNamed, verbs } from "../options/verbs.ts";

/**
 * What a name may be of. Members by what may be done to them: `active` ones may fail, `loose` ones (faulty, spare) be
 * removed, `free` devices be added. `file`: the shell knows.
 */
export type NameKind = "array" | "active" | "loose" | "free" | "node" | "operation" | "file";

/** What may stand where the cursor is. */
export interface Wanted {
  /** As they are. An option that takes a value ends in "=". */
  readonly words: readonly string[];
  readonly names: readonly NameKind[];
  /** What stands before each of them in the same word: `--bitmap=`. */
  readonly prefix: string;
}

const nothing: Wanted = { words: [], names: [], prefix: "" };

/** `before`: the words between `mdctl` and the one at the cursor. */
export function wantedAt(before: readonly string[], current: string): Wanted {
  const mode = modeOf(before);
  if (mode === null) return firstWord(before, current);
  const options = tableOf(mode.type === "verb" ? (verbNamed(mode.verb)?.options ?? []) : manageOptions);
  const named = /^(--[^=]+)=/.exec(current);
  if (named !== null) return optionValue(optionCalled(options, named[1] ?? ""), named[0]);
  if (current.startsWith("-")) return { ...nothing, words: options.map(textOf) };
  const open = optionWithoutValue(options, before);
  if (open !== undefined) return optionValue(open, "");
  return mode.type === "verb" ? operandOf(mode, before) : manageOperand(mode.words);
}

/** Null: nothing says yet what is to be done. */
function modeOf(before: readonly string[]): Extract<Mode, { type: "verb" | "manage" }> | null {
  try {
    const mode = findMode(before);
    return mode.type === "verb" || mode.type === "manage" ? mode : null;
  } catch {
    // An array, and no operation yet: one comes.
    return before.some((word) => !word.startsWith("-")) ? { type: "manage", words: before } : null;
  }
}

function firstWord(before: readonly string[], current: string): Wanted {
  const options = tableOf([]);
  const open = optionWithoutValue(options, before);
  if (open !== undefined) return optionValue(open, "");
  if (current.startsWith("-")) return { ...nothing, words: [...modeOptionNames, ...options.map(textOf)] };
  return { ...nothing, words: verbs.map(({ name }) => name), names: ["array"] };
}

/** The word at the cursor is its value. */
function optionWithoutValue(options: readonly OptionSpec[], before: readonly string[]): OptionSpec | undefined {
  const last = optionCalled(options, before.at(-1) ?? "");
  return last?.value !== undefined && last.optional !== true ? last : undefined;
}

const textOf = ({ name, value, optional }: OptionSpec): string =>
  value === undefined || optional === true ? `--${name}` : `--${name}=`;

const optionCalled = (options: readonly OptionSpec[], word: string): OptionSpec | undefined =>
  options.find(({ name, short, aliases = [] }) =>
    [`--${name}`, `-${short}`, ...aliases.map((alias) => `--${alias}`)].includes(word),
  );

const valueNames: Readonly<Record<string, NameKind>> = {
  ARRAY: "array",
  NODE: "node",
  MEMBER: "active",
  FILE: "file",
  DIR: "file",
  PATH: "file",
};

/** Alternatives as the help writes them: `auto|nbd`, `FILE|DIR|none`. */
function optionValue(option: OptionSpec | undefined, prefix: string): Wanted {
  const parts = (option?.value ?? "").split("|");
  const names = new Set(parts.flatMap((part) => valueNames[part] ?? []));
  return { words: parts.filter(isWord), names: [...names], prefix };
}

const isWord = (text: string): boolean => /^[a-z0-9][a-z0-9.-]*$/.test(text);

interface Operand {
  readonly names: readonly NameKind[];
  readonly words?: readonly string[];
}

const added: Operand = { names: ["free", "file"] };
const returning: Operand = { names: ["loose", "file"], words: ["missing", "faulty"] };
const failing: Operand = { names: ["active"] };
const removed: Operand = { names: ["loose"], words: ["faulty", "detached"] };
const substitute: Operand = { names: ["loose"] };

/** By verb, and by the option that has its name. */
const members: Readonly<Record<string, Operand>> = {
  create: added,
  add: added,
  "add-spare": added,
  "re-add": returning,
  fail: failing,
  "set-faulty": failing,
  replace: failing,
  remove: removed,
  with: substitute,
};

const operationOf = (word: string): Operand | undefined =>
  members[word.replace(/^--/, "")] ?? { "-a": added, "-f": failing, "-r": removed }[word];

/** The operand's kind is that of the operation before it; the first one is the array. */
function manageOperand(words: readonly string[]): Wanted {
  const operation = words.map(operationOf).findLast((found) => found !== undefined);
  if (operation === undefined) return { ...nothing, names: ["array"] };
  return { ...nothing, names: operation.names, words: operation.words ?? [] };
}

/** What the verb's table writes in place of its operands: ARRAY, MEMBER, NODE, or words as they are. */
function operandOf({ verb, words }: Extract<Mode, { type: "verb" }>, before: readonly string[]): Wanted {
  const spec = verbNamed(verb);
  const parts = (spec?.operands ?? "").split(/[\s|[\].]+/).filter((part) => part !== "");
  const given = words.filter((word) => !word.startsWith("-"));
  const isSubstitute = before.includes("--with");
  const names = new Set<NameKind>();
  const literal = parts.filter((part) => isWord(part) && !given.some((word) => parts.includes(word)));
  for (const part of parts) {
    if (part === "ARRAY" && mayBeArray(verb, given.length)) names.add("array");
    if (part === "NODE" && given.length > 0) names.add("node");
    if (part === "ID" && given.includes("show")) names.add("operation");
    if (part === "VERB") literal.push(...verbs.map(({ name }) => name));
    if (part === "DEVICE" || part === "FILE") names.add("file");
    if (part !== "MEMBER") continue;
    const operand = isSubstitute ? substitute : (members[verb] ?? { names: ["file"] });
    for (const name of operand.names) names.add(name);
    literal.push(...(operand.words ?? []));
  }
  return { ...nothing, words: literal, names: [...names] };
}

/** One array, or as many as are given; `create` wants a new name. */
const mayBeArray = (verb: string, given: number): boolean =>
  verb !== "create" && (given === 0 || verbNamed(verb)?.operands.includes("ARRAY...") === true);
