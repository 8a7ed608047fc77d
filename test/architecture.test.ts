import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize, relative } from "node:path";
import { describe, expect, it } from "vitest";

/** The layer table of ARCHITECTURE.md: `| folder | may import | pure |`, one row a folder. */
function readTable(): Map<string, { mayImport: Set<string>; pure: boolean }> {
  const table = new Map<string, { mayImport: Set<string>; pure: boolean }>();
  for (const line of readFileSync("ARCHITECTURE.md", "utf8").split("\n")) {
    const row = /^\| \d \| `(\w+)` \| [^|]* \| ([^|]*) \| (yes|no|part) \|$/.exec(line);
    if (row?.[1] === undefined || row[2] === undefined) continue;
    const mayImport = new Set(
      row[2]
        .split(",")
        .map((folder) => folder.trim())
        .filter((folder) => folder !== "nothing"),
    );
    table.set(row[1], { mayImport, pure: row[3] === "yes" });
  }
  return table;
}

interface Import {
  readonly file: string;
  readonly from: string;
  readonly target: string;
}

function* sources(folder: string): Generator<string> {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (entry.isDirectory()) yield* sources(join(folder, entry.name));
    else if (entry.name.endsWith(".ts")) yield join(folder, entry.name);
  }
}

function readImports(): Import[] {
  const imports: Import[] = [];
  for (const file of sources("src")) {
    const from = relative("src", file).split("/")[0] ?? "";
    for (const [, target = ""] of readFileSync(file, "utf8").matchAll(/(?:from|import\()\s*"([^"]+)"/g)) {
      imports.push({ file, from, target });
    }
  }
  return imports;
}

const folderOf = ({ file, target }: Import): string =>
  relative("src", normalize(join(dirname(file), target))).split("/")[0] ?? "";

describe("the layer table of ARCHITECTURE.md", () => {
  const table = readTable();
  const imports = readImports();

  it("has a row for every folder of src", () => {
    const folders = readdirSync("src", { withFileTypes: true }).filter((entry) => entry.isDirectory());
    expect(folders.map((entry) => entry.name).filter((name) => !table.has(name))).toEqual([]);
  });

  it("is obeyed: imports go only downward", () => {
    const upward = imports
      .filter(({ target }) => target.startsWith("."))
      .filter((item) => folderOf(item) !== item.from && !table.get(item.from)?.mayImport.has(folderOf(item)))
      .map(({ file, target }) => `${file} imports ${target}`);
    expect(upward).toEqual([]);
  });

  it("keeps pure folders free of Node and of packages", () => {
    const impure = imports
      .filter(({ from, target }) => table.get(from)?.pure && !target.startsWith("."))
      .map(({ file, target }) => `${file} imports ${target}`);
    expect(impure).toEqual([]);
  });

  it("lets only env use the clock, timers and chance", () => {
    const offenders = [...sources("src")]
      .filter((file) => file !== "src/env/real-env.ts" && !/^src\/(dashboard|cli)\//.test(file))
      .filter((file) =>
        /\b(Date\.now|performance\.now|Math\.random|setTimeout|setInterval)\(/.test(readFileSync(file, "utf8")),
      );
    expect(offenders).toEqual([]);
  });

  it("lets only blockdev/uring/libc.ts make foreign calls and only dlm/redis know Redis", () => {
    const offenders = imports
      .filter(
        ({ file, target }) =>
          (target === "koffi" && file !== "src/blockdev/uring/libc.ts") ||
          (target === "ioredis" && !file.startsWith("src/dlm/redis/")),
      )
      .map(({ file, target }) => `${file} imports ${target}`);
    expect(offenders).toEqual([]);
  });
});
