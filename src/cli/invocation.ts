import { MdError } from "../base/md-error.ts";
import type { Spelling } from "./mode.ts";
import { globalOptions } from "./options/global-options.ts";
import type { OptionSpec, VerbSpec } from "./options/option-spec.ts";
import { type Token, tokenize } from "./tokenizer.ts";

/** A command line, read: the options by name, the operands in order. */
export class Invocation {
  readonly verb: string;
  readonly spelling: Spelling;
  readonly tokens: readonly Token[];

  private constructor(verb: string, spelling: Spelling, tokens: readonly Token[]) {
    this.verb = verb;
    this.spelling = spelling;
    this.tokens = tokens;
  }

  static read(
    verb: { readonly name: string; readonly options: readonly OptionSpec[] },
    spelling: Spelling,
    words: readonly string[],
  ): Invocation {
    return new Invocation(verb.name, spelling, tokenize(words, tableOf(verb.options)));
  }

  get operands(): readonly string[] {
    return this.tokens.flatMap((token) => (token.type === "operand" ? [token.text] : []));
  }

  has(name: string): boolean {
    return this.tokens.some((token) => token.type === "option" && token.spec.name === name);
  }

  count(name: string): number {
    return this.tokens.filter((token) => token.type === "option" && token.spec.name === name).length;
  }

  /** The value; null when the option is absent or came without one. */
  value(name: string): string | null {
    const found = this.tokens.find((token) => token.type === "option" && token.spec.name === name);
    return found?.type === "option" ? found.value : null;
  }

  /** `least` to `most` operands, or E_USAGE in the words of the verb's table. */
  mustHave(spec: VerbSpec, least: number, most: number): readonly string[] {
    const { operands } = this;
    const extra = operands[most];
    if (extra !== undefined) throw new MdError("E_USAGE", `${this.verb} does not take "${extra}"`, usageHint(spec));
    if (operands.length < least) throw new MdError("E_USAGE", `${this.verb} needs ${spec.operands}`, usageHint(spec));
    return operands;
  }
}

const usageHint = ({ name }: VerbSpec): { hint: string } => ({ hint: `mdctl ${name} --help` });

/** A verb's own options come first: its letters mean what it says. */
export function tableOf(own: readonly OptionSpec[]): readonly OptionSpec[] {
  const taken = new Set(own.flatMap(({ name, short }) => (short === undefined ? [name] : [name, `-${short}`])));
  const shared = globalOptions
    .filter(({ name }) => !taken.has(name))
    .map((spec): OptionSpec => {
      if (spec.short === undefined || !taken.has(`-${spec.short}`)) return spec;
      const { short: _taken, ...rest } = spec;
      return rest;
    });
  return [...own, ...shared];
}
