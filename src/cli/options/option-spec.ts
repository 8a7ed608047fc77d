/** One option as data: the parser, the help and the tests read the same row. */
export interface OptionSpec {
  /** Long name without dashes; what a command asks for. */
  readonly name: string;
  readonly short?: string;
  /** Other long names for the same thing. */
  readonly aliases?: readonly string[];
  /**
   * What the value is called in the help; absent: the option is a flag. `optional`: only `--name=VALUE` gives it one,
   * the next word never does.
   */
  readonly value?: string;
  readonly optional?: boolean;
  /** May be given more than once (a flag always may). */
  readonly repeatable?: boolean;
  readonly help: string;
}

export interface Example {
  readonly command: string;
  readonly text: string;
}

/** A verb as data. */
export interface VerbSpec {
  readonly name: string;
  readonly summary: string;
  /** What follows the verb, e.g. `[ARRAY] MEMBER...`. */
  readonly operands: string;
  readonly options: readonly OptionSpec[];
  /** At least two: the help shows them before the options. */
  readonly examples: readonly Example[];
}
