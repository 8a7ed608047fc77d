import { execFileSync } from "node:child_process";
import { describe, expect, it } from "vitest";
import { pages } from "../../src/cli/manual/pages.ts";
import { roff } from "../../src/cli/manual/roff.ts";
import { globalOptions } from "../../src/cli/options/global-options.ts";
import { verbs } from "../../src/cli/options/verbs.ts";
import { runCommandLine } from "../../src/cli/run-command-line.ts";
import { knownKeywords } from "../../src/daemon/config-file.ts";
import { daemonOptions } from "../../src/daemon/daemon-options.ts";
import { FakeWorld } from "../support/fake-world.ts";

/** A page as people see it, in a line of 200 columns. */
function shown(source: string): string {
  const options = ["-man", "-Tascii", "-P-cbou", "-ww", "-rLL=200n"];
  const text = execFileSync("groff", options, { input: source, encoding: "utf8", stdio: ["pipe", "pipe", "pipe"] });
  return text.replace(/\s+/g, " ");
}

const pageOf = (name: string, section = 8): string => {
  const page = pages().find((one) => one.name === name && one.section === section);
  if (page === undefined) throw new Error(`no page ${name}`);
  return shown(roff(page, "1.2.3"));
};

const namesOf = (options: readonly { readonly name: string }[]): string[] => options.map(({ name }) => `--${name}`);

describe("the manual", () => {
  it.each(verbs)("$name: its options, examples and operands are those of the parser", ({ name, ...verb }) => {
    const page = pageOf(`mdctl-${name}`);
    const parts = [...namesOf(verb.options), ...verb.examples.flatMap(({ command, text }) => [command, text])];
    for (const part of [...parts, verb.summary, verb.operands]) expect(page).toContain(part);
    const options = page.slice(page.indexOf(" OPTIONS "), page.indexOf(" EXIT STATUS "));
    const written = options.match(/(?<=[\s,])--[a-z][a-z0-9-]*(?=[=[, ])/g) ?? [];
    const known = new Set([
      "--confirm-dead",
      ...verbs.flatMap(({ options }) => namesOf(options)),
      ...namesOf(globalOptions),
    ]);
    for (const option of written) expect(known).toContain(option);
  });

  it("of mdctl: all verbs, what is valid everywhere, the exit status", () => {
    const page = pageOf("mdctl");
    for (const { name, summary } of verbs) expect(page).toContain(`mdctl-${name}(8) ${summary}`);
    for (const name of namesOf(globalOptions)) expect(page).toContain(name);
    expect(page).toContain("130 / 143 ended by SIGINT / SIGTERM");
  });

  it("of mdctld and its file: every option, every keyword", () => {
    const page = pageOf("mdctld");
    for (const { name, help } of daemonOptions) {
      expect(page).toMatch(new RegExp(`--${name}(=\\S+)? `));
      expect(page).toContain(help);
    }
    const file = pageOf("mdctl.conf", 5);
    for (const { keyword, options } of knownKeywords()) {
      expect(file).toContain(keyword);
      for (const option of options) expect(file).toContain(`--${option}`);
    }
  });

  it("every page has a name, a summary, other pages to read, and nothing that the formatter warns of", () => {
    for (const page of pages()) {
      const text = shown(roff(page, "1.2.3"));
      expect(text).toContain(`NAME ${page.name} - ${page.summary}`);
      expect(text).toContain("SEE ALSO");
      expect(text).toContain("mdctl 1.2.3");
    }
  });
});

describe("mdctl man", () => {
  it.each([
    ["man", ".TH MDCTL 8 "],
    ["man create", ".TH MDCTL-CREATE 8 "],
    ["man mdctl-create", ".TH MDCTL-CREATE 8 "],
    ["man conf", ".TH MDCTL.CONF 5 "],
    ["man json", ".TH MDCTL-JSON 7 "],
  ])("%s", async (line, begin) => {
    const world = new FakeWorld({});
    expect(await runCommandLine(line.split(" "), world)).toBe(0);
    expect(world.out.startsWith(begin)).toBe(true);
  });

  it("names the nearest page", async () => {
    const world = new FakeWorld({});
    expect(await runCommandLine(["man", "creat"], world)).toBe(2);
    expect(world.err).toBe('mdctl: there is no page "creat"\n  try: mdctl man create\n');
  });
});
