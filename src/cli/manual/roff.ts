/** A manual page as its parts; what is between `*` is bold, as is every word that begins with two dashes. */
export interface Page {
  readonly name: string;
  readonly section: number;
  readonly summary: string;
  readonly parts: readonly Part[];
}

export interface Part {
  readonly title: string;
  readonly blocks: readonly Block[];
}

/** A paragraph, a term with what it means, or lines as they are. */
export type Block = string | readonly [term: string, text: string] | { readonly lines: readonly string[] };

/** The page in the man macros of groff (groff_man(7)). */
export function roff({ name, section, summary, parts }: Page, version: string): string {
  return [
    `.TH ${name.toUpperCase()} ${section} "" "mdctl ${version}" "mdctl"`,
    ".nh",
    ".SH NAME",
    `${plain(name)} \\- ${plain(summary)}`,
    ...parts.flatMap(({ title, blocks }) => [`.SH ${title}`, ...blocks.flatMap(blockLines)]),
    "",
  ].join("\n");
}

function blockLines(block: Block): string[] {
  if (typeof block === "string") return [".PP", text(block)];
  if ("lines" in block) return [".PP", ".nf", ...block.lines.map((line) => guarded(plain(line))), ".fi"];
  const [term, meaning] = block as readonly [string, string];
  return [".TP", text(term), text(meaning)];
}

const bold = (words: string): string => `\\fB${words}\\fR`;

/** One line of input: the formatter fills it. */
const text = (words: string): string =>
  guarded(
    plain(words)
      .replace(/\*([^*]+)\*/g, (_, strong: string) => bold(strong))
      .replace(/(^|[\s(,|[])(\\-\\-[a-z][a-z0-9\\-]*)/g, (_, before: string, option: string) => before + bold(option)),
  );

/** Characters that mean something to the formatter; a dash stays a dash that can be pasted. */
const plain = (words: string): string => words.replace(/\\/g, "\\e").replace(/-/g, "\\-");

/** A line that begins with a dot or an apostrophe would be a request. */
const guarded = (line: string): string => (/^[.']/.test(line) ? `\\&${line}` : line);
