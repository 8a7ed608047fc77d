import { describe, expect, it } from "vitest";
import { isArrayDesignator } from "../../src/cli/array-designator.ts";
import { manageSteps, verbSteps } from "../../src/cli/manage-operations.ts";
import { findMode } from "../../src/cli/mode.ts";
import { manageOptions } from "../../src/cli/options/array-verbs.ts";
import { verbs } from "../../src/cli/options/verbs.ts";
import { tokenize } from "../../src/cli/tokenizer.ts";

const words = (line: string): string[] => line.split(" ").filter((word) => word !== "");
const modeOf = (line: string): string => {
  const mode = findMode(words(line));
  if (mode.type !== "verb") return mode.type;
  return [mode.verb, mode.spelling, ...mode.words].join(" ");
};

describe("the mode is found by the first row that fits", () => {
  it.each([
    // 1: help and version
    ["", "help"],
    ["-h", "help"],
    ["--help create", "help"],
    ["-V", "version"],
    ["--version", "version"],
    ["--help-exit", "help-exit"],
    // 2: a verb
    ["detail md0", "detail verb md0"],
    ["--json detail md0", "detail verb --json md0"],
    ["--socket /run/x.sock status", "status verb --socket /run/x.sock"],
    ["-v -q status", "status verb -v -q"],
    // 3: a mode option, alone or at the head of a group
    ["--create md0 a b", "create option md0 a b"],
    ["-C md0 a b", "create option md0 a b"],
    ["-CR /dev/md0 a", "create option -R /dev/md0 a"],
    ["-As", "assemble option -s"],
    ["--json --assemble --scan", "assemble option --json --scan"],
    // 4: manage
    ["--add /dev/sdX", "manage"],
    ["-a /dev/sdX", "manage"],
    ["/dev/md0 --fail sdb", "manage"],
    ["md0 --test --fail sdb", "manage"],
    ["data --remove faulty", "manage"],
    ["--manage md0 -f sdb", "manage"],
    ["--set-faulty sdb", "manage"],
    // 5: misc
    ["--detail md0", "detail option md0"],
    ["-D md0", "detail option md0"],
    ["-Db md0", "detail option -b md0"],
    ["md0 --detail", "detail option md0"],
    ["--examine a.img b.img", "examine option a.img b.img"],
    ["-E a.img", "examine option a.img"],
    ["-X a.img", "examine-bitmap option a.img"],
    ["-S md0", "stop option md0"],
    ["--stop --scan", "stop option --scan"],
    ["-W md0", "wait option md0"],
    ["--misc --detail md0", "detail option md0"],
    // 6: a bare path
    ["/dev/sdb", "query option /dev/sdb"],
  ])("%s", (line, mode) => {
    expect(modeOf(line)).toBe(mode);
  });

  it("7: anything else is a usage error with a guess", () => {
    expect(() => findMode(["crate"])).toThrow(
      expect.objectContaining({
        code: "E_USAGE",
        message: 'unknown verb "crate"',
        hint: expect.stringContaining("create"),
      }),
    );
    expect(() => findMode(["--frobnicate"])).toThrow(expect.objectContaining({ code: "E_USAGE" }));
    expect(() => findMode(["md0"])).toThrow(
      expect.objectContaining({ message: "no operation is given for md0", hint: "mdctl detail md0" }),
    );
    expect(() => findMode(["--json"])).toThrow(expect.objectContaining({ code: "E_USAGE" }));
  });

  it("says of what there is not that there is not", () => {
    expect(() => findMode(["--build", "md0"])).toThrow("arrays without superblocks are not supported");
    for (const line of ["--incremental /dev/sdb", "-F --scan"]) {
      expect(() => findMode(words(line)), line).toThrow(expect.objectContaining({ code: "E_USAGE" }));
    }
  });

  it("finds every verb by its own name", () => {
    for (const { name } of verbs) expect(findMode([name])).toMatchObject({ type: "verb", verb: name });
  });
});

describe("array designators", () => {
  it.each([
    "md0",
    "md127",
    "/dev/md0",
    "/dev/md/data",
    "/dev/mdctl/status",
    "/dev/ublkb0",
    "/dev/nbd3",
    "uuid=anything",
    "7b37c478:a77d09b7:cb2120fb:6e0d1c55",
    "7b37c478-a77d-09b7-cb21-20fb6e0d1c55",
    "7B37C478A77D09B7CB2120FB6E0D1C55",
  ])("%s is one", (word) => expect(isArrayDesignator(word)).toBe(true));

  it.each(["sdb", "/dev/sdb", "data", "missing", "faulty", "/dev/disk/by-id/A", "7b37c478", "mdx", ""])(
    "%s is none by its form",
    (word) => expect(isArrayDesignator(word)).toBe(false),
  );
});

describe("manage", () => {
  const steps = (line: string) => manageSteps(tokenize(words(line), manageOptions));

  it("takes the first operand for the array only if its form says so", () => {
    expect(steps("--add /dev/sdX")).toMatchObject({ array: null, steps: [{ op: "add", member: "/dev/sdX" }] });
    expect(steps("--add /dev/md0 /dev/sdX")).toMatchObject({ array: "/dev/md0", steps: [{ member: "/dev/sdX" }] });
    expect(steps("data --add /dev/sdX")).toMatchObject({ array: "data" });
  });

  it("leaves a plain word in front of members to who knows the arrays", () => {
    expect(steps("--fail data sdb")).toMatchObject({ array: null, ambiguous: "data" });
    expect(steps("--fail sdb")).toMatchObject({ array: null, ambiguous: null });
    expect(verbSteps("fail", tokenize(["data", "sdb"], []))).toMatchObject({ array: null, ambiguous: "data" });
    expect(verbSteps("fail", tokenize(["md0", "sdb"], []))).toMatchObject({ array: "md0", ambiguous: null });
  });

  it("refuses an operation without a member, and a member without an operation", () => {
    expect(() => steps("md0 --fail")).toThrow("--fail names no member");
    expect(() => steps("md0 --fail --add sdb")).toThrow("--fail names no member");
    expect(() => steps("md0 sdb --fail sdb")).toThrow("what to do with sdb is not said");
  });
});
