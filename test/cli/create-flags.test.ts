import { describe, expect, it } from "vitest";
import type { CommandContext } from "../../src/cli/command.ts";
import { readCreate } from "../../src/cli/commands/create.ts";
import { Invocation } from "../../src/cli/invocation.ts";
import { arrayVerbs } from "../../src/cli/options/array-verbs.ts";

const create = arrayVerbs.find(({ name }) => name === "create");
const read = (line: string) => {
  if (create === undefined) throw new Error("there is no create");
  const invocation = Invocation.read(create, "verb", line.split(" "));
  const { writeMostly, failfast, members } = readCreate(invocation, { cwd: "/x" } as CommandContext);
  return { writeMostly, failfast, members };
};

describe("flags of members, in create", () => {
  it.each([
    ["md0 -l1 ./a ./b", [], []],
    ["md0 -l1 ./a -W ./b", ["/x/b"], []],
    ["md0 -l1 --write-mostly ./a --readwrite ./b", ["/x/a"], []],
    ["md0 -l1 ./a --failfast ./b ./c", [], ["/x/b", "/x/c"]],
    ["md0 -l1 --failfast ./a -W ./b --nofailfast ./c", ["/x/b", "/x/c"], ["/x/a", "/x/b"]],
    ["md0 -l1 ./a -W missing ./b", ["/x/b"], []],
  ])("%s", (line, writeMostly, failfast) => {
    expect(read(line)).toMatchObject({ writeMostly, failfast });
  });
});
