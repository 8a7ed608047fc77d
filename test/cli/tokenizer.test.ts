import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Invocation } from "../../src/cli/invocation.ts";
import { manageSteps } from "../../src/cli/manage-operations.ts";
import { findMode } from "../../src/cli/mode.ts";
import { manageOptions } from "../../src/cli/options/array-verbs.ts";
import type { OptionSpec } from "../../src/cli/options/option-spec.ts";
import { verbNamed } from "../../src/cli/options/verbs.ts";
import { tokenize } from "../../src/cli/tokenizer.ts";

/** Reads a command line as far as it goes without running it. */
function read(...argv: string[]): Invocation {
  const mode = findMode(argv);
  if (mode.type === "manage") return Invocation.read({ name: "manage", options: manageOptions }, "option", mode.words);
  const verb = mode.type === "verb" ? verbNamed(mode.verb) : null;
  if (mode.type !== "verb" || verb === null) throw new Error(`${argv.join(" ")} is ${mode.type}`);
  return Invocation.read(verb, mode.spelling, mode.words);
}

const steps = (...argv: string[]) => {
  const { array, steps: found } = manageSteps(read(...argv).tokens);
  return { array, steps: found.map(({ op, member }) => `${op} ${member}`) };
};

describe("the rows of 1.7: what a plain option parser gets wrong", () => {
  it("keeps operations in order, each on the members up to the next one", () => {
    expect(steps("/dev/md0", "--fail", "sdb", "sdc", "--remove", "sdb")).toEqual({
      array: "/dev/md0",
      steps: ["fail sdb", "fail sdc", "remove sdb"],
    });
    expect(steps("/dev/md0", "-f", "sdb", "-r", "sdb", "-a", "sdb")).toEqual({
      array: "/dev/md0",
      steps: ["fail sdb", "remove sdb", "add sdb"],
    });
  });

  it("applies a flag to the members after it", () => {
    const { tokens } = read("/dev/md0", "--add", "--write-mostly", "sdc", "--readwrite", "sdd");
    expect(manageSteps(tokens).steps).toEqual([
      { op: "add", member: "sdc", flags: ["write-mostly"] },
      { op: "add", member: "sdd", flags: ["readwrite"] },
    ]);
  });

  it("never takes the word after a flag for its value", () => {
    const invocation = read("-CR", "/dev/md0", "-l1", "-n2", "a", "b");
    expect(invocation.verb).toBe("create");
    expect(invocation.has("run")).toBe(true);
    expect(invocation.value("level")).toBe("1");
    expect(invocation.value("raid-devices")).toBe("2");
    expect(invocation.operands).toEqual(["/dev/md0", "a", "b"]);
  });

  it("reads values that are glued to their letter", () => {
    const invocation = read("--create", "md0", "-l10", "-pn2", "-n4");
    expect([invocation.value("level"), invocation.value("layout"), invocation.value("raid-devices")]).toEqual([
      ...["10", "n2", "4"],
    ]);
  });

  it("knows options that begin with no-", () => {
    const invocation = read("--assemble", "--scan", "--no-degraded");
    expect(invocation.has("no-degraded")).toBe(true);
    expect(invocation.has("scan")).toBe(true);
  });

  it("takes -1 for an option where the table has one", () => {
    const table: OptionSpec[] = [{ name: "oneshot", short: "1", help: "" }];
    expect(
      tokenize(["-1", "md0"], table).map((token) => (token.type === "option" ? token.spec.name : token.text)),
    ).toEqual(["oneshot", "md0"]);
  });

  it("gives --cluster a value only with an equals sign", () => {
    const flag = read("create", "--cluster", "/dev/sda", "/dev/sdb");
    expect(flag.has("cluster")).toBe(true);
    expect(flag.value("cluster")).toBeNull();
    expect(flag.operands).toEqual(["/dev/sda", "/dev/sdb"]);
    expect(read("create", "--cluster=alpha", "a", "b").value("cluster")).toBe("alpha");
  });

  it("refuses an unknown option", () => {
    expect(() => read("create", "--lefel=1", "a")).toThrow(
      expect.objectContaining({ code: "E_UNKNOWN_OPTION", message: "unknown option --lefel", hint: "--level" }),
    );
    expect(() => read("create", "-lZ", "-Z")).toThrow(expect.objectContaining({ code: "E_UNKNOWN_OPTION" }));
  });

  it("keeps every member of a list", () => {
    expect(read("create", "-l1", "a", "b", "--cluster", "c", "--", "-d").operands).toEqual(["a", "b", "c", "-d"]);
  });

  it("refuses a value given twice", () => {
    expect(() => read("create", "-l", "1", "-l", "10")).toThrow(
      expect.objectContaining({ code: "E_OPTION_TWICE", message: "level given twice" }),
    );
  });
});

describe("the tokenizer", () => {
  const table: OptionSpec[] = [
    { name: "level", short: "l", value: "L", help: "" },
    { name: "layout", value: "P", help: "" },
    { name: "run", short: "R", help: "" },
    { name: "json", value: "pretty", optional: true, help: "" },
  ];

  it("takes an unambiguous start of a long name, and says which names an ambiguous one has", () => {
    expect(tokenize(["--lev=1"], table)[0]).toMatchObject({ value: "1" });
    expect(() => tokenize(["--l=1"], table)).toThrow(expect.objectContaining({ code: "E_UNKNOWN_OPTION" }));
    expect(() => tokenize(["--la=1", "--le=1", "--l"], table)).toThrow();
  });

  it("says which option lacks its value, and which takes none", () => {
    expect(() => tokenize(["-l"], table)).toThrow(expect.objectContaining({ message: "option -l needs a value: L" }));
    expect(() => tokenize(["--run=yes"], table)).toThrow(
      expect.objectContaining({ message: 'option --run takes no value, got "yes"' }),
    );
  });

  it("loses and invents no word, whatever is typed", () => {
    const word = fc.oneof(fc.constantFrom("-R", "-l1", "--run", "--json", "--level=x", "a", "-", "md0"), fc.string());
    fc.assert(
      fc.property(fc.array(word), (words) => {
        let tokens: ReturnType<typeof tokenize>;
        try {
          tokens = tokenize(words, table);
        } catch (error) {
          expect(error).toHaveProperty("code", expect.stringMatching(/^E_(USAGE|UNKNOWN_OPTION|OPTION_TWICE)$/));
          return;
        }
        const operands = tokens.flatMap((token) => (token.type === "operand" ? [token.text] : []));
        const rest = [...words];
        for (const operand of operands) expect(rest.splice(rest.indexOf(operand), 1)).toEqual([operand]);
        expect(rest.every((text) => text.startsWith("-") || words.includes(text))).toBe(true);
      }),
    );
  });
});
