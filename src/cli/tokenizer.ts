import { MdError } from "../base/md-error.ts";
import { nearest } from "../base/nearest.ts";
import type { OptionSpec } from "./options/option-spec.ts";

/** One word of a command line, understood; the order is that of the command line. */
export type Token =
  | { readonly type: "option"; readonly spec: OptionSpec; readonly value: string | null }
  | { readonly type: "operand"; readonly text: string };

/**
 * Splits a command line as getopt_long does: `--name=value`, `--name value`, `-lvalue`, `-l value`, grouped flags, and
 * `--` for the end of options; an unambiguous start of a long name will do. Operands and options keep their order:
 * in manage mode it carries the meaning. E_UNKNOWN_OPTION, E_USAGE for a missing or unwanted value, E_OPTION_TWICE.
 */
export function tokenize(words: readonly string[], table: readonly OptionSpec[]): readonly Token[] {
  const reader = new WordReader(words);
  const tokens: Token[] = [];
  for (let word = reader.next(); word !== null; word = reader.next()) {
    if (word === "--") {
      for (let rest = reader.next(); rest !== null; rest = reader.next()) tokens.push({ type: "operand", text: rest });
    } else if (word.startsWith("--")) tokens.push(longOption(word, table, reader));
    else if (word.startsWith("-") && word.length > 1) tokens.push(...shortOptions(word, table, reader));
    else tokens.push({ type: "operand", text: word });
  }
  refuseRepeats(tokens);
  return tokens;
}

class WordReader {
  readonly #words: readonly string[];
  #at = 0;

  constructor(words: readonly string[]) {
    this.#words = words;
  }

  next(): string | null {
    return this.#words[this.#at++] ?? null;
  }
}

function longOption(word: string, table: readonly OptionSpec[], reader: WordReader): Token {
  const equals = word.indexOf("=");
  const name = word.slice(2, equals < 0 ? undefined : equals);
  const given = equals < 0 ? null : word.slice(equals + 1);
  const spec = findLong(name, table);
  if (spec.value === undefined) {
    if (given !== null) throw new MdError("E_USAGE", `option --${spec.name} takes no value, got "${given}"`);
    return { type: "option", spec, value: null };
  }
  if (given !== null || spec.optional === true) return { type: "option", spec, value: given };
  return { type: "option", spec, value: valueAfter(`--${spec.name}`, spec, reader) };
}

export function findLong(name: string, table: readonly OptionSpec[]): OptionSpec {
  const names = table.flatMap((spec) => [spec.name, ...(spec.aliases ?? [])].map((long) => ({ long, spec })));
  const exact = names.find(({ long }) => long === name);
  if (exact !== undefined) return exact.spec;
  const started = name.length < 2 ? [] : names.filter(({ long }) => long.startsWith(name));
  const specs = new Set(started.map(({ spec }) => spec));
  const [only] = specs;
  if (specs.size === 1 && only !== undefined) return only;
  if (specs.size > 1) {
    const list = started.map(({ long }) => `--${long}`).join(", ");
    throw new MdError("E_UNKNOWN_OPTION", `option --${name} is ambiguous: ${list}`);
  }
  const near = nearest(
    name,
    names.map(({ long }) => long),
  );
  throw new MdError("E_UNKNOWN_OPTION", `unknown option --${name}`, near === null ? {} : { hint: `--${near}` });
}

function shortOptions(word: string, table: readonly OptionSpec[], reader: WordReader): Token[] {
  const tokens: Token[] = [];
  for (let at = 1; at < word.length; at++) {
    const letter = word[at] ?? "";
    const spec = table.find(({ short }) => short === letter);
    if (spec === undefined) {
      const where = word.length === 2 ? "" : ` in ${word}`;
      throw new MdError("E_UNKNOWN_OPTION", `unknown option -${letter}${where}`);
    }
    if (spec.value === undefined || spec.optional === true) {
      tokens.push({ type: "option", spec, value: null });
      continue;
    }
    const glued = word.slice(at + 1);
    const value = glued === "" ? valueAfter(`-${letter}`, spec, reader) : glued.replace(/^=/, "");
    tokens.push({ type: "option", spec, value });
    break;
  }
  return tokens;
}

function valueAfter(option: string, spec: OptionSpec, reader: WordReader): string {
  const value = reader.next();
  if (value === null) throw new MdError("E_USAGE", `option ${option} needs a value: ${spec.value}`);
  return value;
}

function refuseRepeats(tokens: readonly Token[]): void {
  const seen = new Set<OptionSpec>();
  for (const token of tokens) {
    if (token.type === "operand" || token.spec.value === undefined || token.spec.repeatable === true) continue;
    if (seen.has(token.spec)) throw new MdError("E_OPTION_TWICE", `${token.spec.name} given twice`);
    seen.add(token.spec);
  }
}
