import { exitTable } from "./exit-status.ts";
import { tableOf } from "./invocation.ts";
import type { OptionSpec, VerbSpec } from "./options/option-spec.ts";
import { verbs } from "./options/verbs.ts";

const WIDTH = 80;

/** `mdctl --help`. */
export function generalHelp(): string {
  const lines = verbs.map(({ name, summary }) => `  ${name.padEnd(16)} ${summary}`);
  return [
    "mdctl manages cluster mirrors: RAID1 arrays on shared disks, used by several nodes at once.",
    "",
    "  mdctl VERB [ARRAY] [OPTION]... [MEMBER]...",
    "  mdctl [ARRAY] MODE-OPTION [OPTION]... [MEMBER]...     as mdadm has it",
    "",
    "  mdctl create --level=1 --cluster /dev/disk/by-id/A /dev/disk/by-id/B",
    "  mdctl --add /dev/sdX",
    "",
    "Verbs:",
    ...lines,
    "",
    "mdctl VERB --help tells more; mdctl --help-exit lists the exit status.",
    "",
  ].join("\n");
}

export const exitHelp = (): string => `${exitTable.map(([code, text]) => `${code.padEnd(10)} ${text}`).join("\n")}\n`;

/** `mdctl VERB --help`: examples first, then the options, laid out by yargs from the table that the parser reads. */
export async function verbHelp(verb: VerbSpec): Promise<string> {
  const { default: yargs } = await import("yargs");
  const heading = [
    `mdctl ${verb.name} ${verb.operands}`.trim(),
    `  ${verb.summary}`,
    "",
    ...verb.examples.flatMap(({ command, text }) => [`  ${command}`, `      ${text}`]),
    "",
  ];
  const parser = yargs([]).version(false).help(false).wrap(WIDTH).exitProcess(false);
  const own = new Set(verb.options);
  for (const spec of tableOf(verb.options)) {
    parser.option(spec.name, {
      ...(spec.short === undefined ? {} : { alias: spec.short }),
      describe: description(spec),
      group: own.has(spec) ? "Options:" : "Everywhere:",
      // Types are in the descriptions: the words that yargs would add ("[string]") say less.
      skipValidation: true,
    });
  }
  return `${heading.join("\n")}\n${await parser.getHelp()}\n`;
}

function description({ value, optional, help }: OptionSpec): string {
  if (value === undefined) return help;
  return optional === true ? `[=${value}]  ${help}` : `=${value}  ${help}`;
}
